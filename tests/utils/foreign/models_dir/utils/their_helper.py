"""A module of `utils` that this project has not."""


def halve(x):
    return x // 2
