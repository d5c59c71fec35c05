"""Where CHATWRIGHT_CI is set, a skipped test fails the run: there, everything a test needs must be present.

Excused are tests that want an accelerator, and those on real data that do not lie beside the checkout.
"""

from __future__ import annotations

import re

import pytest

EXCUSED = re.compile(r"accelerator|development data", re.IGNORECASE)


def unexcused(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """`test: reason` of a skip that CI does not allow, else None. Expected failures are no skips."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return None if EXCUSED.search(reason) else f"{report.nodeid}: {reason}"


class NoSilentSkips:
    """Collects unexcused skips, of every worker, and fails the session that has any."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if (skip := unexcused(report)) and skip not in self.found:
            self.found.append(skip)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.found:
            terminalreporter.section("skips that CI does not allow")
            for skip in self.found:
                terminalreporter.line(skip)
