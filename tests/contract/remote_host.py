"""A host as if it were another machine, to see how it would be reached."""

from __future__ import annotations

from typing import Any

from penstock.host.local import LocalHost
from penstock.host.runner import Completed
from penstock.host.streaming import LoginFrom


class Remote(LocalHost):
    """As if it were reached by ssh: whatever is run there is `answer`."""

    probes = 0
    answer = "exit 0"

    @property
    def login(self) -> LoginFrom:
        return LoginFrom("10.0.0.1", "root")

    def run(self, argv: Any, **options: Any) -> Completed:
        self.probes += 1
        return super().run(["sh", "-c", self.answer], **options)
