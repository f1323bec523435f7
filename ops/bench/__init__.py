"""Benchmarks that anyone can run: python -m ops.bench.<name>. Figures are ratios against a peer or a limit of the same run."""
