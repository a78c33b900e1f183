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
    auth: [username: {:file, "name"}, password: @secret],
    auth: [password: @secret],
    auth: [mechanism: @secret],
    auth: [mechanism: [password: @secret]],
    auth: [mechanism: [:plain, @secret]],
    auth: [username: {"ann", @secret}],
    auth: [username: {:file, {"ann", @secret}}],
    auth: [authorization_id: [@secret]],
    auth: [timeout: @secret],
    auth: [require_auth: @secret],
    auth: [allowed_authenticators: @secret],
    auth: [sigv4: [region: [@secret]]],
    auth: [sigv4: [profile: {@secret}]],
    auth: [credentials: {MyApp, :login, [@secret]}],
    auth: [credentials: @secret],
    auth: [authenticator: {MyApp.Own, password: @secret}],
    auth: [sigv4: @secret],
    auth: [sigv4: [secret_access_key: @secret]],
    auth: [sigv4: [access_key_id: @secret]],
    auth: [sigv4: [session_token: "\n" <> @secret]],
    auth: [sigv4: [token: @secret]],
    auth: [sigv4: [credentials: {MyApp, :keys, [@secret]}]],
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
      auth: [
        username: "app",
        require_auth: true,
        mechanism: [:plain, :extrenal],
        authorization_id: "reports",
        timeout: 17,
        allowed_authenticators: ["com.example.Own"],
        sigv4: [region: "eu-west-1", profile: "shop"]
      ]
    ]

    assert Seal.seal(auth: [username: {:file, "name"}]) == [auth: [username: {:file, "name"}]]

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
    login = [username: "app", password: @secret]
    assert [auth: [username: "app", password: %Secret{}]] = Seal.seal(auth: login)

    # As it is where a username from a file may come to stand beside it.
    assert [auth: [password: closure]] = Seal.seal(auth: [password: @secret])
    assert Seal.open(closure) == {:ok, @secret}
    later = Seal.seal_auth(username: "app", password: closure)
    assert [username: "app", password: %Secret{}] = later

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

  test "what gives credentials later is revealed as it was, and never called" do
    secret = @secret

    for value <- [fn -> secret end, fn _ -> secret end, {MyApp, :login, [secret]}],
        [sigv4: [credentials: sealed], credentials: same] <- [
          Seal.seal_auth(sigv4: [credentials: value], credentials: value)
        ] do
      assert Seal.reveal(sealed) == value
      assert Seal.reveal(same) == value
      assert :binary.match(:erlang.term_to_binary(sealed), secret) == :nomatch
      assert Seal.seal_auth(credentials: same) == [credentials: same]
      assert Seal.reveal(value) == value
    end

    for value <- [nil, [], {:file, "path"}], do: assert(Seal.reveal(Seal.mask(value)) == value)
  end

  test "what references stand for lives as long as what it is sealed in" do
    test = self()

    for place <- [
          &[&1 | :improper],
          &{MyApp, :login, [%{&1 => 1}]},
          &%{key: %Secret{ref: &1}},
          fn counter -> fn -> counter end end,
          &Seal.mask({&1})
        ] do
      {pid, monitor} =
        spawn_monitor(fn ->
          counter = :counters.new(1, [])
          :counters.put(counter, 1, 17)
          {:atomics, reference} = counter
          send(test, {:sealed, Seal.mask({reference, place.(reference)})})
        end)

      assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}
      assert_receive {:sealed, sealed}
      :erlang.garbage_collect()
      {reference, _place} = Seal.reveal(sealed)
      assert :counters.get({:atomics, reference}, 1) == 17
    end
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
