// A program that signs people in with go-oidc and x/oauth2: its registration comes on the first line of standard input,
// the address that the person's browser was sent back to on the second. What it prints at the end, it has verified.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

type registration struct {
	Issuer       string `json:"issuer"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	RedirectURI  string `json:"redirect_uri"`
}

func main() {
	if err := signIn(context.Background(), json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)); err != nil {
		log.Fatal(err)
	}
}

func signIn(ctx context.Context, read *json.Decoder, say *json.Encoder) error {
	var told registration
	if err := read.Decode(&told); err != nil {
		return err
	}
	provider, err := oidc.NewProvider(ctx, told.Issuer)
	if err != nil {
		return err
	}
	config := oauth2.Config{
		ClientID:     told.ClientID,
		ClientSecret: told.ClientSecret,
		RedirectURL:  told.RedirectURI,
		Endpoint:     provider.Endpoint(),
		Scopes:       []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess, "email"},
	}
	verifier, state, nonce := oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	address := config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier))
	if err := say.Encode(map[string]string{"address": address}); err != nil {
		return err
	}

	var returned string
	if err := read.Decode(&returned); err != nil {
		return err
	}
	response, err := url.Parse(returned)
	if err != nil {
		return err
	}
	if response.Query().Get("state") != state {
		return errors.New("another state came back")
	}
	token, err := config.Exchange(ctx, response.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return err
	}
	raw, _ := token.Extra("id_token").(string)
	signed, err := provider.Verifier(&oidc.Config{ClientID: told.ClientID}).Verify(ctx, raw)
	if err != nil {
		return err
	}
	if signed.Nonce != nonce {
		return errors.New("another nonce is in the id_token")
	}
	if err := signed.VerifyAccessToken(token.AccessToken); err != nil {
		return err
	}
	person, err := provider.UserInfo(ctx, config.TokenSource(ctx, token))
	if err != nil {
		return err
	}
	refreshed, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	if err != nil {
		return err
	}
	if refreshed.AccessToken == token.AccessToken {
		return fmt.Errorf("refreshing gave the former access token")
	}
	return say.Encode(map[string]string{"signed": signed.Subject, "sub": person.Subject, "email": person.Email})
}
