"""What the conformance runner reads out of the suite's lines."""

from __future__ import annotations

import pytest

from tests.conformance.suite import PLUGIN, RESULT, Ended, Results


@pytest.mark.parametrize(
    ("line", "ended"),
    [
        (
            f"{{0}} {PLUGIN}.test_shares.SharesNFSTest.test_create_1_x [2.07s] ... ok",
            Ended(f"{PLUGIN}.test_shares.SharesNFSTest.test_create_1_x", "ok"),
        ),
        (
            f"{{1}} setUpClass ({PLUGIN}.admin.test_quotas.QuotasTest) ... SKIPPED: Only for multitenancy.",
            Ended(f"{PLUGIN}.admin.test_quotas.QuotasTest", "SKIPPED", "Only for multitenancy."),
        ),
        (
            f"{{1}} setUpClass ({PLUGIN}.admin.test_quotas.QuotasTest) [0.000000s] ... FAILED",
            Ended(f"{PLUGIN}.admin.test_quotas.QuotasTest", "FAILED"),
        ),
    ],
)
def test_a_line_is_a_test_that_ended(line: str, ended: Ended) -> None:
    found = RESULT.match(line)
    assert found is not None
    assert Ended(found["test"], found["outcome"], found["reason"] or "") == ended


def test_results_are_counted_by_resource() -> None:
    results = Results()
    results.add(Ended(f"{PLUGIN}.test_shares.T.test_a", "ok"))
    results.add(Ended(f"{PLUGIN}.test_shares_negative.T.test_b", "FAILED"))
    results.add(Ended(f"{PLUGIN}.admin.test_quotas.T", "SKIPPED", "why"))
    assert {name: dict(counts) for name, counts in results.by_resource.items()} == {
        "shares": {"ok": 1, "FAILED": 1},
        "quotas": {"SKIPPED": 1},
    }
    assert results.failed == [f"{PLUGIN}.test_shares_negative.T.test_b"]
    assert results.skips == {"why": 1}
