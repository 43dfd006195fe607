"""Records of runs, read, and shown as a page: `oarlock report run.jsonl`."""

from oarlock.agents.recording import Recording
from oarlock.report.page import as_page, write_page
from oarlock.report.reading import Record, RecordedRun, read_record

__all__ = ["Record", "RecordedRun", "Recording", "as_page", "read_record", "write_page"]
