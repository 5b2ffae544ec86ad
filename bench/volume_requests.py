"""Volumes as many clients ask for them: how soon the driver starts, whether any is lost, and a second from an image."""

from __future__ import annotations

import subprocess
import threading
import time

from bench.http import Api
from bench.operations import first_commands, unix_time
from bench.rows import Row, median
from bench.stage import Stage
from penstock.images.sidecar import id_of

LATENCIES = 15
NO_STORAGE = ("volume_driver = penstock.volume.drivers.dummy.DummyVolumeDriver", "dummy_pool_size = 1000000")
IMAGE, IMAGE_MIB = "bench.raw", 256
FROM_IMAGE = 5


def latency(stage: Stage, api: Api) -> list[Row]:
    """POST accepted to driver started: acceptance is in the row, the start is that of the first command."""
    made = [_made(api, f"latency-{n}") for n in range(LATENCIES)]
    accepted = {one: unix_time(api.volumes(f"/volumes/{one}")["volume"]["created_at"]) for one in made}
    started = first_commands(stage, {f"volume:{one}": one for one in made})
    _delete(stage, api, made)
    waits = [1000 * (started[one] - accepted[one]) for one in made if one in started]
    return [Row("POST of a volume accepted to driver started, median", median(waits), "ms", 15)]


def together(stage: Stage, api: Api, count: int, clients: int = 4) -> list[Row]:
    """Created by several clients at once, by the driver without storage: the requests and rows are what counts."""
    asked: list[str] = []

    def create(mine: Api, many: int) -> None:
        asked.extend([_asked(mine, f"together-{n}") for n in range(many)])

    threads = [threading.Thread(target=create, args=(api.another(), count // clients)) for _ in range(clients)]
    started = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = started
    for first in range(0, len(asked), 500):  # SQLite takes so many parameters and more
        ended = stage.at_rest(*(f"volume:{one}" for one in asked[first : first + 500]))
    ((available,),) = stage.rows("SELECT count(*) FROM volumes WHERE status = 'available'")
    return [
        Row(f"{count} volumes by {clients} clients at once: lost", float(count - available), "", 0),
        Row("  each of them", 1000 * (ended - started) / count, "ms", None),
    ]


def from_image(stage: Stage, api: Api) -> list[Row]:
    """The first volume of an image is copied and kept, those after it are its clones."""
    folder = stage.work / "state" / "images"
    folder.mkdir(mode=0o700, exist_ok=True)
    words = ["dd", "if=/dev/urandom", f"of={folder / IMAGE}", "bs=1M", f"count={IMAGE_MIB}", "status=none"]
    subprocess.run(words, check=True, timeout=60)
    (folder / IMAGE).chmod(0o600)
    seconds, made = [], []
    for n in range(FROM_IMAGE + 1):
        started = time.time()
        made.append(_asked(api, f"image-{n}", imageRef=id_of(IMAGE)))
        api.until_volume(made[-1])
        seconds.append(stage.ended(made[-1], "volume") - started)
    _delete(stage, api, made)
    return [
        Row(f"volume from an image of {IMAGE_MIB} MiB, the first", seconds[0], "s", None),
        Row("  a second one from the same image", median(seconds[1:]), "s", 1),
    ]


def _asked(api: Api, name: str, **wanted: object) -> str:
    return str(api.volumes("/volumes", "POST", {"volume": {"size": 1, "name": name, **wanted}})["volume"]["id"])


def _made(api: Api, name: str) -> str:
    volume_id = _asked(api, name)
    api.until_volume(volume_id)
    return volume_id


def _delete(stage: Stage, api: Api, volume_ids: list[str]) -> None:
    for one in volume_ids:
        api.volumes(f"/volumes/{one}", "DELETE")
    stage.at_rest(*(f"volume:{one}" for one in volume_ids))
