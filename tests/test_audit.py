"""Protects the audit of dependencies: it neither passes unseen nor fails without a reason."""

from __future__ import annotations

import pytest

from tests import audit


def report(*vulns: dict) -> dict:
    packages = [{"name": "sound", "version": "1", "vulns": []}, {"name": "own", "skip_reason": "x"}]
    return {"dependencies": [*packages, {"name": "pip", "version": "2", "vulns": list(vulns)}]}


FOUND = report({"id": "CVE-1", "fix_versions": ["3"]}, {"id": "CVE-2", "fix_versions": []})


@pytest.mark.parametrize(
    ("answers", "code", "printed"),
    [
        ([report()], 0, "audit (pypi): 2 packages, 0 known"),
        ([FOUND], 1, "pip 2: CVE-1, fixed in 3"),
        ([None, FOUND], 1, "audit (osv)"),
        ([None, None], None, "NOT AUDITED"),
        (
            [{"dependencies": [{"name": "own", "skip_reason": "unknown"}]}, None],
            None,
            "NOT AUDITED",
        ),
    ],
)
def test_what_the_audit_says(
    answers: list[dict | None],
    code: int | None,
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    services = iter(answers)
    monkeypatch.setattr(audit, "ask", lambda service: next(services))
    if code is None:
        audit.main()
    else:
        with pytest.raises(SystemExit) as end:
            audit.main()
        assert end.value.code == code
    assert printed in capsys.readouterr().out
