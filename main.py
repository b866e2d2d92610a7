"""Train, compare and tune multimodal recommenders: `python main.py -m TMFUN -d sports`; --help says more."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from utils.cli import main  # noqa: E402  (src/ has to be on the path first)

if __name__ == "__main__":
    sys.exit(main())
