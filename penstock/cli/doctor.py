"""``penstock doctor``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.options import config_option, debug_option, json_option, load_config, open_database, quiet_logs
from penstock.cli.output import print_json, print_table
from penstock.doctor.findings import DESTRUCTIVE, REPAIRS, Finding, Kind
from penstock.errors import Fault, Unavailable

if TYPE_CHECKING:
    from oslo_config import cfg

    from penstock.doctor.treatment import Seen, Site, Treated, Treatment
    from penstock.store.database import Database

DRIFT = 3
KINDS = "\n".join(f"  {kind.value:<18}{what}" for kind, what in REPAIRS.items())


@click.command(epilog=f"\b\nKinds, and what repairing them means:\n{KINDS}")
@click.option("--backend", "sections", multiple=True, help="Only this backend; may be repeated. [default: all]")
@click.option(
    "--repair",
    "kinds",
    multiple=True,
    type=click.Choice([kind.value for kind in Kind]),
    metavar="KIND",
    help="Repair findings of this kind; may be repeated. Nothing else is touched.",
)
@click.option("--yes", is_flag=True, help="Do not ask before destroying orphans.")
@config_option
@debug_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, *, sections: tuple[str, ...], kinds: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Show where database, pools and exports disagree, and repair what you name: of shares and of volumes.

    What a driver cannot say is named as not examined. Works while the daemon runs and while it does not. Exit code 0:
    all agrees; 3: it does not; 1: nobody could tell.

    \b
    Examples:
      penstock doctor
      penstock doctor --repair export-missing --repair quota-differs
    """
    quiet_logs(ctx)
    wanted = {Kind(kind) for kind in kinds}
    conf = load_config(ctx)
    database = open_database(conf)
    reports, faults = [], []
    for section in sections or (*conf.enabled_share_backends, *conf.enabled_backends):
        try:
            site, look = _opened(conf, section, database)
            report = _look_after(section, site, look, wanted, is_agreed=yes, is_silent=as_json)
        except Fault as fault:  # the other backends are looked at all the same
            faults.append(f"{section}: {fault.message}")
            continue
        reports.append(report)
        if report["unseen"]:
            faults.append(f"{section}: Nobody can tell whether what it should hold is there: {report['unseen']}.")
    if as_json:
        print_json(reports)
    else:
        for report in reports:
            _print(report)
    if faults:
        raise Unavailable(" ".join(faults))
    if any(report["is_drifted"] for report in reports):
        ctx.exit(DRIFT)


def _opened(conf: cfg.ConfigOpts, section: str, database: Database) -> tuple[Site, Callable[[Any], Seen]]:
    """The backend, of shares or of volumes, and how it is examined."""
    if section in conf.enabled_backends:
        from penstock.doctor.volumes.examination import examine_volumes
        from penstock.volume_site import open_volume_site

        return open_volume_site(conf, section, database), examine_volumes
    from penstock.doctor.examination import examine
    from penstock.share_site import open_share_site

    return open_share_site(conf, section, database), examine


def _look_after(
    section: str,
    site: Site,
    look: Callable[[Any], Seen],
    wanted: set[Kind],
    *,
    is_agreed: bool,
    is_silent: bool,
) -> dict[str, object]:
    from penstock.doctor.treatment import treat

    treatment: Treatment | None = None
    if wanted:
        if not is_agreed:
            _ask(section, look(site).findings, wanted, is_silent=is_silent)
        treatment = treat(site, wanted, look)
    seen = treatment.after if treatment else look(site)
    findings = seen.findings
    is_complete = treatment.is_complete if treatment else True
    return {
        "backend": section,
        "treated": treatment.treated if treatment else (),
        "failures": treatment.failures if treatment else (),
        "findings": findings,
        "unseen": seen.unseen,
        "is_complete": is_complete,
        "is_drifted": not is_complete or any(finding.is_drift for finding in findings),
    }


def _ask(section: str, findings: Sequence[Finding], wanted: set[Kind], *, is_silent: bool) -> None:
    doomed = [finding for finding in findings if finding.kind in wanted & DESTRUCTIVE and finding.can_repair]
    if doomed and is_silent:
        raise click.UsageError(f"{len(doomed)} orphans would be destroyed with the data in them: say --yes.")
    if doomed:
        for finding in doomed:
            click.echo(f"{section}  {finding.sentence}", err=True)
        click.confirm(f"Destroy these {len(doomed)}, with the data in them?", abort=True, err=True)


def _print(report: dict[str, object]) -> None:
    section = report["backend"]
    treated: Sequence[Treated] = report["treated"]  # type: ignore[assignment]
    findings: Sequence[Finding] = report["findings"]  # type: ignore[assignment]
    for done in treated:
        what = f"not repaired: {done.fault}" if done.fault else "repaired, or queued for the backend"
        click.echo(f"{section}  {done.finding.kind.value}  {done.finding.sentence}: {what}")
    failures: Sequence[str] = report["failures"]  # type: ignore[assignment]
    for failure in failures:
        click.echo(f"{section}  failed: {failure}")
    if not report["is_complete"]:
        click.echo(f"{section}  some repairs are still queued; see 'penstock operation list'")
    note: Callable[[Finding], str] = _note
    print_table(("kind", "what", ""), [(f.kind.value, f.sentence, note(f)) for f in findings])
    if not findings:
        click.echo(f"{section}  database, pools and exports agree")


def _note(finding: Finding) -> str:
    if finding.kind is Kind.NOT_EXAMINED:
        return "-"
    if not finding.is_drift:
        return "nothing to do"
    return f"--repair {finding.kind.value}" if finding.can_repair else "needs an administrator"
