"""What runs inside a sandbox: standard library and NumPy only, bound there as package ``inside``.

Nothing here may import `tutor`, `course` or `statml`: inside, the first two do
not exist.
"""
