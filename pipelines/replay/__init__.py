"""The whole loop on recorded outcomes: `intellirouter replay` and `intellirouter demo`.

    plan        what to replay                          report             what came out
    outcomes    what each model did with each item      trace              when requests arrive
    run         the loop: send, refresh, send           driver             the client that sends and judges
    reference   regret, and what it is compared with    books              nothing lost, nothing counted twice
    workspace   the folder of a run                     progress_display   what a person sees
    demo        the loop on published figures           replay_commands    the two commands

Read `run` first; it holds the loop.
"""
