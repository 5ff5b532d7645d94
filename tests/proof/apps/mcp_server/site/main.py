"""An MCP server with a tool, a resource and a prompt, over streamable HTTP."""

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("proof")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
async def long(steps: int, ctx: Context) -> str:
    """Report progress, and be done."""
    for step in range(steps):
        await ctx.report_progress(step, steps)
    return "done"


@server.resource("words://{name}")
def words(name: str) -> str:
    """A text."""
    return f"words for {name}"


app = server.streamable_http_app()
