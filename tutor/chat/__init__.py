"""The tutor's conversation: one service that the terminal and the web page both use.

>>> from tutor.chat import Conversation
>>> from tutor.library import BM25Retriever, Document, cut
>>> from tutor.providers.extractive import ExtractiveProvider
>>> from tutor.records import Records
>>> from tutor.records.transcripts import Transcripts
>>> library = BM25Retriever(cut(Document("notes", "Ages", "Stars spin down as their winds brake them.")))
>>> talk = Conversation(library, ExtractiveProvider(), Transcripts(Records(":memory:")), "s1")
>>> [type(event).__name__ for event in talk.say("Why do stars spin down?")]
['Claim', 'Source', 'Done']
"""

from tutor.chat.conversation import Conversation
from tutor.chat.events import Claim, Done, Event, Hint, Piece, Refusal, Source, ToolCall, to_dict

__all__ = [
    "Claim",
    "Conversation",
    "Done",
    "Event",
    "Hint",
    "Piece",
    "Refusal",
    "Source",
    "ToolCall",
    "to_dict",
]
