"""Tables and figures from run folders alone."""

from bbo_bench.report.document import summary_text, write_report
from bbo_bench.report.runs import ReportError

__all__ = ["ReportError", "summary_text", "write_report"]
