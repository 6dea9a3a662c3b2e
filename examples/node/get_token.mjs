// Gets a token from usherd: npm install; node get_token.mjs PROFILE
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import protobuf from 'protobufjs';

const includeDirs = [fileURLToPath(new URL('../../proto', import.meta.url))];
const { usher } = grpc.loadPackageDefinition(loader.loadSync('usher/v1/token.proto', { includeDirs, longs: Number }));

// Of google/rpc/{status,error_details}.proto, what is needed here.
const google = protobuf.parse(`syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }`).root;

// A later try can succeed.
const TRANSIENT = ['IDP_UNREACHABLE', 'IDP_UNAVAILABLE', 'IDP_ANSWER_INVALID', 'RATE_LIMITED', 'DEADLINE_EXCEEDED'];

// The reason that usherd gives; undefined where the error is not usherd's.
function reason(error) {
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!bytes) return undefined;
  const infos = google.lookupType('Status').decode(bytes).details
    .filter(({ type_url: type, typeUrl = type }) => typeUrl.endsWith('/google.rpc.ErrorInfo'))
    .map(({ value }) => google.lookupType('ErrorInfo').decode(value));
  return infos.find(({ domain }) => domain === 'usher.v1')?.reason;
}

const { USHER_SOCKET, XDG_RUNTIME_DIR } = process.env;
const socket = USHER_SOCKET || (XDG_RUNTIME_DIR && `${XDG_RUNTIME_DIR}/usher/usher.sock`);
if (!socket) throw new Error('set USHER_SOCKET: `usher status --json` shows the socket');
const tokens = new usher.v1.TokenService(`unix://${socket}`, grpc.credentials.createInsecure());
tokens.GetToken({ profile: process.argv[2] }, { deadline: Date.now() + 30_000 }, (error, token) => {
  tokens.close();
  if (error) {
    const why = reason(error);
    console.error(`${why ?? grpc.status[error.code]}: ${error.details}`);
    process.exitCode = TRANSIENT.includes(why) ? 75 : 1;
    return;
  }
  // Send `token.authorization` as the Authorization header.
  const expires = token.expiresAt && new Date(token.expiresAt.seconds * 1000).toISOString();
  console.log(`profile:  ${token.profile}\nexpires:  ${expires ?? 'not known'}\ntoken_id: ${token.tokenId}`);
});
