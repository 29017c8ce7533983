"""Results on disk, and what people read of them."""

from entres.report.results import Condition, Row, evaluation_folder, read_summary

__all__ = ["Condition", "Row", "evaluation_folder", "read_summary"]
