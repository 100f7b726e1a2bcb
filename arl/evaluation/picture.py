"""Pictures by matplotlib, drawn without a screen.

with picture(Path("curve.png"), 1, 2, figsize=(11, 4)) as axes:
    axes[0, 0].plot(steps, rewards)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arl.errors import ArlError


@contextmanager
def picture(path: Path, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[Any]:
    """Axes [rows, columns] to draw on; the file is written at the end of the block. options: of `pyplot.subplots`.

    ArlError where matplotlib is not installed.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise ArlError("--plot needs matplotlib: pip install 'arl[demo]'") from error
    figure, axes = pyplot.subplots(rows, columns, squeeze=False, **options)
    try:
        yield axes
        figure.tight_layout()
        figure.savefig(path, dpi=110)
    finally:
        pyplot.close(figure)
