"""A chat that repeats what it is given."""

import chainlit


@chainlit.on_chat_start
async def start():
    await chainlit.Message(content="hello").send()


@chainlit.on_message
async def repeat(message: chainlit.Message):
    answer = chainlit.Message(content="")
    for word in message.content.split():
        await answer.stream_token(word + " ")
    await answer.send()
