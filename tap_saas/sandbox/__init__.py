"""An honest little SaaS API over HTTP, with its own truth, for the demo and the tests.

It shares no code with the tap: only starlette, uvicorn and the standard library.
`python -m tap_saas.sandbox` serves it; `app.create_app(world)` is the same thing in a thread;
`process.start()` runs it as a child process. `GET /` lists what it serves.
"""
