"""`python -m arl`: what torchrun starts (`torchrun --nproc-per-node 8 -m arl update …`)."""

from arl.cli.entry import main

if __name__ == "__main__":
    main()
