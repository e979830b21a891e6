"""Translate between Anthropic's messages and the Converse API of Amazon Bedrock. All of it is pure.

    converse   a request of Anthropic's ─► a request of Converse, and its answers and events back

Converse has the blocks, the thoughts with signatures and the stop reasons of Anthropic's messages under
other names, for models of every maker. So a chat request goes by way of Anthropic's shape.
"""
