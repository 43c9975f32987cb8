"""The page: results to one self-contained HTML file; computes no metric."""

from spoofscope.report.page import write_report

__all__ = ["write_report"]
