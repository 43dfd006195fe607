"""`crewai.types.streaming`."""

from oarlock.agents.chunks import CrewStreamingOutput, StreamChunk, StreamChunkType, ToolCallChunk

__all__ = ["CrewStreamingOutput", "StreamChunk", "StreamChunkType", "ToolCallChunk"]
