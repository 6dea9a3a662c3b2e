"""Gets a token from usherd.

pip install -r requirements.txt
python get_token.py PROFILE
"""

import os
import sys
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# grpcio-tools compiles the contract here and now. A program of yours may ship what protoc generates.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "proto"))
messages, services = grpc.protos_and_services("usher/v1/token.proto")

# A later try can succeed.
TRANSIENT = {"IDP_UNREACHABLE", "IDP_UNAVAILABLE", "IDP_ANSWER_INVALID", "RATE_LIMITED", "DEADLINE_EXCEEDED"}


def reason(error):
    """The reason that usherd gives; None where the error is not usherd's."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else []:
        if detail.Unpack(info) and info.domain == "usher.v1":
            return info.reason
    return None


def main(profile):
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    socket = os.environ.get("USHER_SOCKET") or (runtime and runtime + "/usher/usher.sock")
    if not socket:
        sys.exit("set USHER_SOCKET: `usher status --json` shows the socket")
    with grpc.insecure_channel("unix://" + socket) as channel:
        tokens = services.TokenServiceStub(channel)
        try:
            token = tokens.GetToken(messages.GetTokenRequest(profile=profile), timeout=30)
        except grpc.RpcError as error:
            why = reason(error)
            print(f"{why or error.code().name}: {error.details()}", file=sys.stderr)
            return 75 if why in TRANSIENT else 1
    # Send `token.authorization` as the Authorization header.
    print("profile: ", token.profile)
    print("expires: ", token.expires_at.ToJsonString() if token.HasField("expires_at") else "not known")
    print("token_id:", token.token_id)
    return 0


sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
