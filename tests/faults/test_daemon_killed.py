"""kill -9 of the real daemon at many points: everything accepted finishes by itself, and nothing is left behind."""

from __future__ import annotations

import random

import pytest

from tests.faults.conftest import ALL
from tests.faults.log_watch import LogWatch
from tests.faults.scenarios import SCENARIOS, Scenario, check_all, prepare_all
from tests.product.running import Product

pytestmark = pytest.mark.lab
SEED = 20261121
FIRST_POINTS = (0, 12, 40)  # audited actions on the host before the first kill
ROUNDS = len(FIRST_POINTS) * (5 if ALL else 1)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_all_at_once(product: Product, number: int) -> None:
    """All operations are under way, four at a time; the daemon dies up to three times on the way."""
    chance = random.Random(SEED + number)
    first = FIRST_POINTS[number] if number < len(FIRST_POINTS) else chance.randrange(60)
    scenarios = prepare_all(product)
    chance.shuffle(scenarios)
    watch = LogWatch(product)
    for scenario in scenarios:
        scenario.ask()
    for actions in (first, *(chance.randrange(1, 15) for _ in range(number % 3))):
        watch.await_actions(actions)
        product.daemon.kill()
        watch.forget()
        product.daemon.start()
    product.daemon.up()
    check_all(scenarios)


@pytest.mark.parametrize("kind", SCENARIOS if ALL else ())
def test_at_every_command(product: Product, kind: type[Scenario]) -> None:
    """Only with PENSTOCK_FAULTS=all."""
    at, is_disturbed = 0, True
    while is_disturbed:
        scenario = kind(product)
        watch = LogWatch(product)
        scenario.ask()
        is_disturbed = watch.await_actions(at, ends=("operation.done", "operation.failed"))
        product.daemon.kill()
        product.daemon.up()
        scenario.check()
        product.told("doctor")
        at += 1
