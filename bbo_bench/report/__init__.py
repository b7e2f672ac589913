"""Tables and figures from run folders alone."""

from bbo_bench.report.comparison import write_comparison
from bbo_bench.report.document import summary_text, write_report
from bbo_bench.report.frame import load_results
from bbo_bench.report.reproduction import reproduction
from bbo_bench.report.runs import ReportError

__all__ = ["ReportError", "load_results", "reproduction", "summary_text", "write_comparison", "write_report"]
