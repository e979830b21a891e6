"""Runs the whole loop on recorded outcomes: `intellirouter replay` and `intellirouter demo`.

    plan        the parameters of a replay              report             the results
    outcomes    each model's outcome on each item       trace              the arrival times of requests
    run         the loop: send, refresh, send           driver             the client that sends and judges
    reference   regret, and the reference policies      books              finds lost and doubled requests
    workspace   the folder of a run                     progress_display   the output on the terminal
    demo        the loop on published figures           replay_commands    the two commands

Read `run` first: it holds the loop.
"""
