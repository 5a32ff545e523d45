"""`simexplore devices`: what can be measured here."""

from __future__ import annotations

import click

from simexplore.cli.console import say
from simexplore.cli.options import json_option
from simexplore.cli.output import print_json, print_table
from simexplore.kernels.backend.devices import Report
from simexplore.kernels.measuring import reports
from simexplore.kernels.suites import suites_of


@click.command(epilog="Example: simexplore devices")
@json_option()
def devices(as_json: bool) -> None:
    """List the devices that kernels can be measured on, and what is missing for others and how to mend it."""
    found = reports()
    if as_json:
        print_json([_plain(report) for report in found])
        return
    rows = [
        [device.backend, str(device.index), device.name, device.kind, device.driver, ", ".join(sorted(device.features))]
        for report in found
        for device in report.devices
    ]
    if rows:
        print_table(["backend", "device", "name", "kind", "driver", "can"], rows, left=6)
    for report in found:
        for missing in report.missing:
            say(f"{report.backend}: {missing.what} is missing: {missing.mend}")


def _plain(report: Report) -> dict[str, object]:
    devices = [
        {
            "index": device.index,
            "name": device.name,
            "kind": device.kind,
            "driver": device.driver,
            "features": sorted(device.features),
            "limits": dict(device.limits),
        }
        for device in report.devices
    ]
    missing = [{"what": missing.what, "mend": missing.mend} for missing in report.missing]
    return {"backend": report.backend, "suites": suites_of(report.backend), "devices": devices, "missing": missing}
