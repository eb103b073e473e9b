"""Trio around one replica: the driver, the writer's thread, long reads, watch streams, metrics.

Here live tasks, threads and clocks; no protocol of clients and no file formats.
"""
