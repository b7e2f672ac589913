"""Ship the plugin folders at the root inside the package: tasks/ is bbo_bench.tasks."""

from setuptools import find_packages, setup

PLUGINS = {"bbo_bench.tasks": "tasks", "bbo_bench.optimizers": "optimizers"}
packages = find_packages(include=["bbo_bench", "bbo_bench.*"])
for package, folder in PLUGINS.items():
    packages += [package, *(f"{package}.{name}" for name in find_packages(folder))]
setup(packages=packages, package_dir=PLUGINS)
