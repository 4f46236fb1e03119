#!/usr/bin/env bash
# openvino 2026.4.1: `import openvino` forks the process, to report the import to an analytics service.
#
# The package depends on openvino-telemetry, which sends events from a thread that forks a child with `multiprocessing` and ends it after a
# timeout. So an import starts a copy of a process that may already have threads, whether or not there is a network; nothing is printed. It
# is silent where the environment says CI, after `opt_in_out --opt_out`, or where the module openvino_telemetry cannot be imported.
# One would have guessed that an import runs nothing outside the process, or that telemetry had to be agreed to first.
# Source: run by this script on openvino 2026.4.1. Exit code 1 if it is otherwise.
bash "$(dirname "$0")/with_packages" openvino==2026.4.1 <<'PY'
import os
import subprocess
import sys
import tempfile

CODE = """
import sys, time
{before}
forks = []
sys.addaudithook(lambda event, values: forks.append(event) if event == "os.fork" else None)
import openvino
time.sleep(2)
print(openvino.__version__.split("-")[0], len(forks))
"""
environment = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS", "TF_BUILD", "JENKINS_URL")}
environment["HOME"] = tempfile.mkdtemp()  # no earlier answer about consent
forks = {}
for title, before in (("as installed", ""), ("without the module", "sys.modules['openvino_telemetry'] = None")):
    done = subprocess.run([sys.executable, "-c", CODE.format(before=before)], env=environment, capture_output=True, text=True, check=True)
    version, count = done.stdout.split()[-2:]
    forks[title] = int(count)
    print(f"openvino {version}, {title}: {count} forks during the import")
as_known = forks["as installed"] > 0 and forks["without the module"] == 0
print("as described" if as_known else "THE BEHAVIOUR HAS CHANGED")
sys.exit(0 if as_known else 1)
PY
