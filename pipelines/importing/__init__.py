"""The way in: the logs and the configuration of other gateways, in our own formats.

Comes in: LiteLLM's spend logs, as a file or as the table, and TensorZero's tables. Goes out: segments of a
lake of its own, so that refresh, reports and doctor work on it as on own traffic. Nothing of it ranks a
model: imported requests have an environment of their own, no propensity, and the strategy `pinned`.

    sources      a file or a table as rows of text, whatever its format
    spend_logs   LiteLLM's columns as request records, and the cause of each row that is none
    tensorzero   TensorZero's tables as request records and feedback
    moving_in    the knowledge that a log has of a move: `report moving-in` (`moving_in_text`, `price_names`)
    lakes        whose lake it is, the requests it knows, and new segments
    litellm_config  LiteLLM's config.yaml and keys as our documents (`deployments`, `leaves`)
    litellm_export  the way back (`deployment_export`)
    import_commands   `intellirouter import`
"""
