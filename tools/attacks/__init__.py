"""What `python tools/attack.py` does: hostile files made at run time, the process that reads them, and the verdict."""
