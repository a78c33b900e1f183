defmodule Palladion.AuthCustomGuideTest do
  @moduledoc """
  The authenticator of `guides/auth-custom.md`, compiled as it stands there, without a server.
  """

  use ExUnit.Case, async: true

  alias Palladion.Authenticator.Endpoint
  alias Palladion.Test.Guide

  @password "pencil"

  setup_all do
    [module] = Guide.compile("auth-custom", "MyApp.WithoutServer")
    %{authenticator: module}
  end

  defp endpoint(class \\ "com.example.ScramAuthenticator") do
    %Endpoint{host: "db1.example", port: 9042, address: "10.0.0.1", authenticator: class}
  end

  defp begun(module, username \\ "user") do
    {:ok, state} = module.new(endpoint(), username: username, password: fn -> @password end)
    state
  end

  # The server's side, by the same RFC.
  defp hmac(key, text), do: :crypto.mac(:hmac, :sha256, key, text)

  defp challenge(nonce, rounds \\ 4_096),
    do: "r=#{nonce}more,s=#{Base.encode64("salt")},i=#{rounds}"

  defp judge("n,," <> bare, challenge, final, password) do
    [without_proof, proof] = String.split(final, ",p=")
    text = Enum.join([bare, challenge, without_proof], ",")
    salted = :crypto.pbkdf2_hmac(:sha256, password, "salt", 4_096, 32)
    stored = :crypto.hash(:sha256, hmac(salted, "Client Key"))
    key = :crypto.exor(Base.decode64!(proof), hmac(stored, text))
    {:crypto.hash(:sha256, key) == stored, "v=" <> proof(salted, text)}
  end

  defp proof(salted, text), do: Base.encode64(hmac(hmac(salted, "Server Key"), text))

  defp talked(module, password \\ @password) do
    {:ok, first, state} = module.initial_response(begun(module))
    challenge = challenge(state.nonce)
    {:ok, final, state} = module.evaluate_challenge(challenge, state)
    {right?, proof} = judge(first, challenge, final, password)
    %{state: state, right?: right?, proof: proof}
  end

  test "the example of RFC 7677", %{authenticator: module} do
    state = %{begun(module) | nonce: "rOprNGfwEbeRWgbNEkqO"}
    assert {:ok, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", state} = module.initial_response(state)

    challenge =
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"

    assert {:ok, final, state} = module.evaluate_challenge(challenge, state)

    assert final ==
             "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," <>
               "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

    right = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert module.on_success(right, state) == :ok
    assert {:ok, "", proved} = module.evaluate_challenge(right, state)
    assert module.on_success(nil, proved) == :ok
  end

  test "the server sees the right password, and no other", %{authenticator: module} do
    assert talked(module).right?
    refute talked(module, "crayon").right?
  end

  test "only a server that knows the password is right", %{authenticator: module} do
    %{state: state, proof: "v=" <> proof = whole} = talked(module)
    assert module.on_success(whole, state) == :ok

    for wrong <- [nil, "", proof, "v=", "v=" <> Base.encode64("short"), "e=other-error"] do
      assert {:error, _text} = module.on_success(wrong, state)
    end

    altered = :crypto.exor(Base.decode64!(proof), <<1::256>>)
    assert {:error, _text} = module.on_success("v=" <> Base.encode64(altered), state)
    assert {:error, _text} = module.evaluate_challenge("v=" <> Base.encode64(altered), state)
  end

  test "challenges that are none of SCRAM", %{authenticator: module} do
    {:ok, _first, state} = module.initial_response(begun(module))

    for challenge <- [
          "",
          "r=#{state.nonce}",
          "r=another,s=c2FsdA==,i=4096",
          "r=#{state.nonce},s=c2FsdA==,i=4096",
          "r=#{state.nonce}more,s=?,i=4096",
          "m=must,r=#{state.nonce}more,s=c2FsdA==,i=4096",
          challenge(state.nonce, "many"),
          challenge(state.nonce, 1),
          challenge(state.nonce, 10_000_000)
        ] do
      assert {:error, "the challenge is none of SCRAM"} =
               module.evaluate_challenge(challenge, state)
    end

    assert {:error, _text} = module.on_success(nil, state)
    %{state: state, proof: proof} = talked(module)
    {:ok, "", proved} = module.evaluate_challenge(proof, state)
    assert {:error, _text} = module.evaluate_challenge(proof, proved)
  end

  test "names are escaped, nonces new, and other classes get nothing", %{authenticator: module} do
    {:ok, first, state} = module.initial_response(begun(module, "a,b=c"))
    assert String.starts_with?(first, "n,,n=a=2Cb=3Dc,r=")
    refute begun(module).nonce == state.nonce
    assert {:error, _text} = module.new(endpoint("com.example.Other"), [])
  end
end
