"""Known vulnerabilities in what is installed: `python tests/audit.py`.

Asks PyPI, then OSV. Ends with 1 if there is any, and with 0 and a clear line where neither service
can be reached: a machine without a network is not a reason to fail.
"""

from __future__ import annotations

import json
import subprocess
import sys

SERVICES = ("pypi", "osv")


def ask(service: str) -> dict | None:
    """What pip-audit reports; ``None`` if the service has no answer."""
    command = [sys.executable, "-m", "pip_audit", "--local", "--format", "json", "--timeout", "15"]
    try:
        run = subprocess.run(
            [*command, "--progress-spinner", "off", "--vulnerability-service", service],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return json.loads(run.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return None


def vulnerabilities(packages: list[dict]) -> list[str]:
    """A line for each: the package, the vulnerability, the releases without it."""
    return [
        f"{package['name']} {package['version']}: {found['id']}, "
        f"fixed in {', '.join(found['fix_versions']) or 'no release yet'}"
        for package in packages
        for found in package.get("vulns", [])
    ]


def main() -> None:
    for service in SERVICES:
        report = ask(service)
        packages = report["dependencies"] if report else []
        if audited := sum("vulns" in package for package in packages):  # else it knew none of them
            lines = vulnerabilities(packages)
            print(f"audit ({service}): {audited} packages, {len(lines)} known vulnerabilities")
            print("\n".join(lines))
            raise SystemExit(bool(lines))
    print(f"NOT AUDITED: none of {', '.join(SERVICES)} could be reached from here.")


if __name__ == "__main__":
    main()
