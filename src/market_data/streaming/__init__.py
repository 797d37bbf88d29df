"""Streams: committed trades and the candles that they change, delivered to clients in the order of the commits.

    commit → NOTIFY → hub (one in each worker) → batch of events → clients

A batch is everything that was committed since the hub last read: mostly one commit. Each trade is an event; a changed candle
is one event a batch, after the last trade that changed it, with its values when it is read. Missed events are read from the
database, so a client may reconnect to any worker of any replica.
"""
