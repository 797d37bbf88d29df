"""WebSocket on a connection: uvicorn's protocol on websockets, with corrections."""

from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode
from websockets.http11 import Response
from websockets.server import ServerProtocol

from market_data.api.http import problems
from market_data.api.http.problem_specs import PROBLEM_MEDIA_TYPE
from market_data.middleware.timeout import STOPPING
from market_data.models import Problem
from market_data.server.stop import UNREAD_STOP_SECONDS
from market_data.telemetry.logging import REQUEST_ID


class ProblemServerProtocol(ServerProtocol):
    """Protocol of websockets that rejects handshakes with problem details."""

    def reject(self, status: int, text: str) -> Response:
        """Return a response without an upgrade."""
        status = HTTPStatus(status)
        detail = text.partition("\n")[0] or "There is no WebSocket at this path."
        problem = Problem("about:blank", status.phrase, status.value, detail, None, REQUEST_ID.get())
        response = super().reject(status, msgspec.json.encode(problem).decode())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = PROBLEM_MEDIA_TYPE
        return response


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Protocol of one WebSocket.

    Corrects uvicorn's: what a client does wrong is not logged as an error, and a handshake that websockets can't parse is
    answered (uvicorn keeps such a connection open forever). Frames that arrive before the response to the handshake wait for
    it: websockets can't reject them earlier, and uvicorn would send a pong before the response.
    """

    _early = b""
    """Frames that wait."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.conn = ProblemServerProtocol(max_size=config.ws_max_size, logger=self.logger)

    def data_received(self, data: bytes) -> None:
        """Parse bytes, and answer a handshake that failed."""
        if self.transport.is_closing():
            return
        if self.handshake_initiated and not self.handshake_complete:
            self._early += data
            self.transport.pause_reading()
            return
        super().data_received(data)
        if self.conn.handshake_exc and not self.handshake_initiated and not self.transport.is_closing():
            refusal = self.conn.reject(HTTPStatus.BAD_REQUEST, str(self.conn.handshake_exc)).serialize()
            self.transport.write(b"".join(self.conn.data_to_send()) or refusal)
            self.transport.close()

    def shutdown(self) -> None:
        """Close the connection, and abort it if the client still has not read everything after a while.

        The close code is 1013, and the status of an incomplete handshake 503; uvicorn's are 1012 and 500.
        """
        self.loop.call_later(UNREAD_STOP_SECONDS, self.transport.abort)
        if self.close_sent or self.initial_response:
            super().shutdown()
            return
        self.stop_keepalive()
        if self.handshake_complete:
            self.conn.send_close(CloseCode.TRY_AGAIN_LATER, STOPPING)
        else:
            response = self.conn.reject(HTTPStatus.SERVICE_UNAVAILABLE, STOPPING)
            response.headers["Retry-After"] = str(problems.RETRY_SECONDS)
            self.conn.send_response(response)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.TRY_AGAIN_LATER})
        self.close_sent = self.handshake_complete = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def send_receive_event_to_app(self) -> None:
        """Pass a message to the application, or close the connection if it is not UTF-8."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.conn.fail(CloseCode.INVALID_DATA, "invalid UTF-8")
                self.handle_parser_exception()
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """Send a message of the application.

        Raises:
            ClientDisconnected: The connection has ended.
        """
        try:
            await super().send(message)
        except RuntimeError:
            if self.close_sent:
                raise ClientDisconnected from None
            raise
        if self.close_sent:
            self.handshake_complete = True  # uvicorn leaves it out after a refusal, and reports an error of the application
        if self._early and self.handshake_complete and not self.transport.is_closing():
            early, self._early = self._early, b""
            self.transport.resume_reading()
            self.data_received(early)
