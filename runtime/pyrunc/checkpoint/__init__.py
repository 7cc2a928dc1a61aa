"""Decides how the processes of a container are saved to files and made again from them, by CRIU.

It must not save or make anything of a process itself. Imported only by checkpoint and restore.
"""
