"""The benchmarks behind `make bench`: one module for each group of figures."""
