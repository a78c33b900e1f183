defmodule Palladion.Config.SealTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.Seal
  alias Palladion.Secret

  @secret "hunter2"

  # As supervisors, `:sys.get_state` and logs show it: as text, or as numbers.
  defp shows_secret?(term) do
    text =
      inspect(term, structs: false, limit: :infinity) <>
        to_string(:io_lib.format("~p ~w", [term, term]))

    String.contains?(text, [@secret, @secret |> to_charlist() |> Enum.join(",")])
  end

  @sealed_somehow [
    auth: [username: "app", password: @secret],
    auth: [username: "app", password: to_charlist(@secret)],
    auth: [username: "app", passwrd: @secret],
    auth: [username: "app", password: {:system, @secret}],
    auth: @secret,
    auth: {"app", @secret},
    auth: %{password: @secret},
    auth: [{"password", @secret}],
    tls: [password: @secret],
    tls: [password: to_charlist(@secret)],
    tls: [passphrase: @secret],
    tls: [key: {:RSAPrivateKey, @secret}],
    tls: [key: @secret],
    tls: [keys: {:RSAPrivateKey, @secret}],
    tls: @secret,
    password: @secret,
    ssl: [password: @secret]
  ]

  test "no secret can be printed any more" do
    for {name, value} <- @sealed_somehow do
      options = [{name, value}]
      assert shows_secret?(options)
      refute shows_secret?(Seal.seal(options)), inspect(options)
    end

    refute shows_secret?(Seal.seal({:not_options, @secret}))
  end

  test "nor found in what it was sealed in" do
    for {name, value} <- @sealed_somehow, name != :auth do
      bytes = [{name, value}] |> Seal.seal() |> :erlang.term_to_binary()
      assert :binary.match(bytes, @secret) == :nomatch
      assert :binary.match(:erlang.term_to_binary(value), @secret) != :nomatch
    end
  end

  test "everything else stays as it is" do
    options = [
      name: MyApp.DB,
      contact_points: ["db1"],
      pool: [size: 3],
      tls: [cacertfile: "ca.pem", verify: :verify_peer, session_cache: [size: 3]],
      auth: [username: "app", require_auth: true]
    ]

    assert Seal.seal(options) == options
    assert Seal.seal(tls: true) == [tls: true]
    assert Seal.seal(tls: false, auth: nil) == [tls: false, auth: nil]
  end

  test "what is missing stays missing" do
    options = [auth: [username: nil, password: nil], tls: [password: ""]]
    assert Seal.seal(options) == options
  end

  test "sealing twice is sealing once" do
    for {name, value} <- @sealed_somehow do
      sealed = Seal.seal([{name, value}])
      assert Seal.seal(sealed) == sealed
    end
  end

  test "the server's password becomes a secret, a key file's a function" do
    assert [auth: [password: %Secret{}]] = Seal.seal(auth: [password: @secret])
    assert [tls: [password: closure]] = Seal.seal(tls: [password: @secret])
    assert Seal.open(closure) == {:ok, @secret}
  end

  test "a key is opened as the tuple that it is" do
    key = {:RSAPrivateKey, @secret}
    assert [key: closure] = Seal.seal_tls(key: key)
    assert Seal.call(closure) == {:ok, key}
    assert Seal.call(key) == {:ok, key}
    assert {:error, :invalid_value, _} = Seal.call(fn -> nil end)
    assert {:error, :function_failed, message} = Seal.call(fn -> raise @secret end)
    refute message =~ @secret
  end

  test "a function is kept, and called when its value is needed" do
    test = self()

    function = fn ->
      send(test, :called)
      @secret
    end

    assert [auth: [password: ^function]] = sealed = Seal.seal(auth: [password: function])
    assert Seal.seal(sealed) == sealed
    refute_received :called
    assert Seal.open(function) == {:ok, @secret}
    assert_received :called
  end
end
