import argparse


def doctor(args: argparse.Namespace) -> int:
    return 0
