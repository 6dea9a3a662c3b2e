// Gets a token from usherd. README.md here says how to build it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"usher-example/usherv1"
)

// A later try can succeed.
var transient = map[string]bool{"IDP_UNREACHABLE": true, "IDP_UNAVAILABLE": true,
	"IDP_ANSWER_INVALID": true, "RATE_LIMITED": true, "DEADLINE_EXCEEDED": true}

func fail(err error) {
	reason, code := status.Code(err).String(), 1 // unless usherd gives a reason
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == "usher.v1" {
			reason = info.Reason
		}
	}
	if transient[reason] {
		code = 75
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", reason, status.Convert(err).Message())
	os.Exit(code)
}

func main() {
	socket := os.Getenv("USHER_SOCKET")
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); socket == "" && runtime != "" {
		socket = runtime + "/usher/usher.sock"
	}
	if socket == "" {
		fail(errors.New("set USHER_SOCKET: `usher status --json` shows the socket"))
	}
	connection, err := dial("unix://" + socket)
	if err != nil {
		fail(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	request := &usherv1.GetTokenRequest{Profile: append(os.Args, "")[1]}
	token, err := usherv1.NewTokenServiceClient(connection).GetToken(ctx, request)
	if err != nil {
		fail(err)
	}
	// Send token.Authorization as the Authorization header.
	expires := "not known"
	if token.ExpiresAt != nil {
		expires = token.ExpiresAt.AsTime().Format(time.RFC3339)
	}
	fmt.Printf("profile:  %s\nexpires:  %s\ntoken_id: %s\n", token.Profile, expires, token.TokenId)
}
