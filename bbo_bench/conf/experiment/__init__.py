"""Presets: whole sweeps behind one name."""
