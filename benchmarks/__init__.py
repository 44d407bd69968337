"""Our speed and memory beside other libraries, measured in one run: ``python -m benchmarks``.

One module for each family of methods. Answers are compared first: a benchmark
whose competitors disagree raises and reports no times. Times are printed as the
ratio ours / fastest peer, which travels between machines better than seconds do.
"""
