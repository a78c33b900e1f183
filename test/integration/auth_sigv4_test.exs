defmodule Palladion.Integration.AuthSigV4Test do
  @moduledoc """
  Logins by AWS signatures against a server that computes each by itself, as Amazon Keyspaces does.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Logins}

  alias Palladion.ConfigError
  alias Palladion.Test.Testkit
  alias Palladion.Test.Testkit.AWS

  @moduletag :capture_log
  @moduletag timeout: 120_000

  @region "us-east-1"

  defp start_server(options \\ []) do
    Testkit.start_server([method: :sigv4, region: @region] ++ options)
  end

  # An access key that servers know.
  defp access_key(more \\ []) do
    key = "AKIATEST#{System.unique_integer([:positive])}"
    secret = "secret/#{Base.encode64(:crypto.strong_rand_bytes(18))}"
    AWS.access_key([access_key_id: key, secret: secret] ++ more)
    [access_key_id: key, secret_access_key: secret] ++ Keyword.take(more, [:session_token])
  end

  defp auth(keys, more \\ []), do: [sigv4: Keyword.merge([region: @region] ++ keys, more)]

  describe "keys that are given" do
    test "sign" do
      server = start_server()
      key = access_key()
      name = ready_cluster!(server, auth: auth(key), pool: [size: 3])
      await_connections(name, 4)
      assert mechanisms(name) == ["SigV4"]

      for it <- connections(name) do
        assert it.authenticator == "com.amazon.helenus.auth.HelenusAuthenticator"
      end

      for it <- Testkit.connections(server), it.open do
        assert it.access_key_id == key[:access_key_id]
        assert [<<"SigV4", 0, 0>>, response] = it.tokens
        refute response =~ key[:secret_access_key]
      end

      assert %{logins: 4, failed_logins: 0} = Testkit.counters(server)
    end

    for token <- ["plain", "a+b/c==", "===", String.duplicate("FwoGZXIvYXdzE+/=", 80)] do
      @tag token: token
      test "with the session token #{String.slice(token, 0, 20)}", %{token: token} do
        server = start_server()
        ready_cluster!(server, auth: auth(access_key(session_token: token)))
        assert %{session_token: ^token} = last_login(server)
      end
    end

    test "in a region in upper case" do
      ready_cluster!(start_server(), auth: auth(access_key(), region: "US-East-1"))
    end

    test "after a nonce that something follows" do
      ready_cluster!(start_server(nonce_suffix: ",,"), auth: auth(access_key()))
    end

    test "with clocks that differ by less than a quarter of an hour" do
      for minutes <- [-14, 14] do
        ready_cluster!(start_server(skew: minutes * 60_000), auth: auth(access_key()))
      end
    end

    test "are given anew while the cluster runs" do
      server = start_server()
      [first, second] = [access_key(), access_key(session_token: "token")]
      name = ready_cluster!(server, soon(auth: auth(first), pool: [size: 1]))
      await_connections(name, 2)
      AWS.forget_access_key(first[:access_key_id])
      assert Palladion.update_auth(name, auth(second)) == :ok
      assert Palladion.reconnect(name) == :ok

      assert last_login(server).access_key_id == second[:access_key_id]

      assert stats(name).logins_refused == 0
    end
  end

  describe "refused with a reason:" do
    test "a wrong secret, key, token or region" do
      server = start_server()
      key = access_key()
      with_token = access_key(session_token: "the-token")

      for wrong <- [
            auth(key, secret_access_key: "another"),
            auth(key, access_key_id: "AKIANOBODY"),
            auth(key, session_token: "none-was-given"),
            auth(with_token, session_token: "another"),
            auth(Keyword.delete(with_token, :session_token)),
            auth(key, region: "eu-west-1")
          ] do
        error = refused!(server, [auth: wrong], :signature_refused)
        assert is_binary(error.details.server_message)
        message = Exception.message(error)
        for about <- ["clock", "region", "IAM"], do: assert(message =~ about)
        refute message =~ key[:secret_access_key]
      end
    end

    test "a key that has expired, and clocks that differ" do
      refused!(start_server(), [auth: auth(access_key(expires_in: 0))], :signature_refused)

      for minutes <- [-16, 16] do
        server = start_server(skew: minutes * 60_000)
        refused!(server, [auth: auth(access_key())], :signature_refused)
      end
    end

    for challenge <- [
          "",
          "nonce=",
          "nonce=1234567890123456789012345678901",
          "once=12345678901234567890123456789012",
          nil
        ] do
      @tag challenge: challenge
      test "the challenge #{inspect(challenge)}", %{challenge: challenge} do
        challenge = if challenge, do: Base.encode16(challenge), else: "null"
        server = start_server(challenge: challenge)
        error = refused!(server, [auth: auth(access_key())], :challenge_malformed)
        assert error.details.mechanism == "SigV4"
        # No signature was made of it.
        for it <- Testkit.connections(server), do: assert(it.rounds <= 1)
      end
    end

    test "a nonce that is too long" do
      server = start_server(nonce_suffix: "0")
      refused!(server, [auth: auth(access_key())], :challenge_malformed)
    end
  end

  describe "a function" do
    defp given(keys), do: [sigv4: [region: @region, credentials: fn -> keys.() end]]

    test "gives keys, as a list, a map or a pair" do
      server = start_server()
      key = access_key(session_token: "token")
      in_an_hour = DateTime.add(DateTime.utc_now(), 3_600)
      texts = for {name, value} <- key, into: %{}, do: {to_string(name), value}

      for answer <- [
            key,
            Map.new(key),
            texts,
            {:ok, key},
            [expires_at: in_an_hour] ++ key,
            [expires_at: DateTime.to_unix(in_an_hour)] ++ key
          ] do
        ready_cluster!(server, auth: given(fn -> answer end))
      end

      mfa = {Keyword, :merge, [key, []]}
      ready_cluster!(server, auth: [sigv4: [region: @region, credentials: mfa]])
    end

    # Whoever logs in between two expiries has keys that are good.
    test "gives keys for seconds: of fifty expiries no login fails" do
      server = start_server()
      test = self()

      name =
        ready_cluster!(
          server,
          soon(
            auth:
              given(fn ->
                send(test, :asked)
                expires_at = DateTime.add(DateTime.utc_now(), 300, :millisecond)
                [expires_at: expires_at] ++ access_key(session_token: "t", expires_in: 300)
              end)
          )
        )

      asked = reconnect_until_asked(name, 50)
      assert asked >= 50
      assert %{logins_refused: 0} = stats(name)
      assert %{failed_logins: 0} = Testkit.counters(server)
    end

    defp reconnect_until_asked(name, wanted, asked \\ 0) do
      if asked >= wanted do
        asked
      else
        assert Palladion.reconnect(name) == :ok
        reconnect_until_asked(name, wanted, asked + take_asked())
      end
    end

    defp take_asked do
      receive do
        :asked -> 1 + take_asked()
      after
        0 -> 0
      end
    end

    test "is asked once for connections that log in at once" do
      server = start_server(login_delay: 20)
      test = self()
      key = access_key()

      credentials = fn ->
        send(test, :asked)
        Process.sleep(100)
        [expires_at: DateTime.add(DateTime.utc_now(), 3_600)] ++ key
      end

      name = ready_cluster!(server, auth: given(credentials), pool: [size: 8])
      await_connections(name, 9)
      assert take_asked() <= 2
    end

    @failures [
      {"an error", :credentials_failed, quote(do: {:error, "the vault is sealed"})},
      {"an exception", :credentials_failed, quote(do: raise("hidden"))},
      {"half a triple", :credentials_failed, quote(do: [access_key_id: "AKIA"])},
      {"nonsense", :credentials_failed, quote(do: 17)},
      {"what has expired", :credentials_expired,
       quote(
         do: [
           access_key_id: "AKIA",
           secret_access_key: "hidden",
           expires_at: ~U[2020-01-01 00:00:00Z]
         ]
       )},
      {"nothing, ever", :credentials_timeout, quote(do: Process.sleep(:infinity))}
    ]

    for {what, reason, failure} <- @failures do
      test "gives #{what}" do
        server = start_server()
        healthy = start_supervised!({Agent, fn -> false end})
        key = access_key()
        keys = fn -> if(Agent.get(healthy, & &1), do: key, else: unquote(failure)) end
        auth = [timeout: 200] ++ given(keys)
        error = refused!(server, [auth: auth], unquote(reason))
        refute Exception.message(error) =~ "hidden"
        assert %{auth_response: sent, logins: 0} = Testkit.counters(server)
        # At most that it would sign.
        assert sent == 0 or Enum.all?(Testkit.connections(server), &(&1.rounds <= 1))

        name = start_cluster!(server, soon(auth: auth))
        await_failure(name, unquote(reason))
        Agent.update(healthy, fn _ -> true end)
        assert Palladion.await_ready(name) == :ok
      end
    end
  end

  test "what can't be meant is refused at start" do
    server = start_server()
    key = access_key()

    for {sigv4, path, reason} <- [
          {key ++ [region: @region, profile: "p"], [:auth, :sigv4], :conflict},
          {key ++ [region: @region, credentials: fn -> key end], [:auth, :sigv4], :conflict},
          {[region: @region, access_key_id: "AKIA"], [:auth, :sigv4, :secret_access_key],
           :required}
        ] do
      options = options(server, name: :never, auth: [sigv4: sigv4])
      assert {:error, %ConfigError{problems: problems}} = Palladion.start_link(options)

      assert Enum.any?(problems, &(List.starts_with?(&1.path, path) and &1.reason == reason)),
             inspect(problems)

      refute inspect(problems) =~ key[:secret_access_key]
    end

    both = [username: "ann", password: "secret"] ++ auth(key)
    options = options(server, name: :never, auth: both)
    assert {:error, %ConfigError{problems: problems}} = Palladion.start_link(options)
    assert Enum.any?(problems, &(&1.reason == :conflict))
  end

  test "a server that asks for a password gets no signature" do
    server = Testkit.start_server(user: "ann", password: "secret")
    refused!(server, [auth: auth(access_key())], :unknown_authenticator)
    assert %{auth_response: 0, logins: 0} = Testkit.counters(server)
  end
end

defmodule Palladion.Integration.AuthSigV4PluginTest do
  @moduledoc """
  The same inputs through Amazon's plugin for the Python driver and through ours: equal bytes. The plugin rounds microseconds, takes
  a region as it is and looks at no challenge, so these are whole milliseconds, lower case and well-formed.
  """

  use ExUnit.Case, async: true

  alias Palladion.Test.Python
  alias Palladion.Test.Testkit.Binary

  @moduletag :python_sigv4
  @moduletag timeout: 180_000

  @regions ~w(us-east-1 us-west-2 eu-central-1 ap-southeast-2 us-gov-west-1 cn-north-1)
  @count 1_000

  test "#{@count} responses are equal" do
    orders = for n <- 1..@count, do: order(n)
    responses = Python.sign!(orders)
    assert length(responses) == @count

    for {order, theirs, ours} <- Enum.zip([orders, responses, ours(orders)]) do
      assert ours == theirs, "for #{inspect(order)}: #{Base.decode16!(ours, case: :mixed)}"
    end
  end

  # Region, key, secret, token, time, challenge. The first are at the borders of seconds and days.
  defp order(n) do
    [
      Enum.random(@regions),
      "AK" <> random(~c"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 18),
      random(~c"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/", 40),
      if(rem(n, 2) == 0, do: "-", else: token(n)),
      unix_ms(n),
      Base.encode16(challenge(n), case: :lower)
    ]
  end

  defp token(n) do
    random(~c"abcdefghijklmnopqrstuvwxyz0123456789+/=", 1 + rem(n * 7, 300)) <> "+/="
  end

  @midnight 1_591_747_200_000

  defp unix_ms(n) when n <= 20, do: @midnight - 10 + n
  defp unix_ms(n) when n <= 220, do: @midnight + 43_200_000 + n * 5
  defp unix_ms(_n), do: Enum.random(1_000_000_000_000..4_000_000_000_000)

  defp challenge(n) do
    nonce = random(~c"0123456789abcdef", 32)

    Enum.at(
      ["nonce=#{nonce}", "nonce=#{nonce},,", "nonce=#{nonce},region=x", "x=y,nonce=#{nonce}"],
      rem(n, 4)
    )
  end

  defp random(letters, count), do: for(_ <- 1..count, into: "", do: <<Enum.random(letters)>>)

  defp ours(orders) do
    name = "palladion-sign-#{System.pid()}-#{System.unique_integer([:positive])}"
    file = Path.join(System.tmp_dir!(), name)

    File.write!(
      file,
      for(order <- orders, do: [Enum.map_intersperse(order, "\t", &to_string/1), "\n"])
    )

    {output, 0} = System.cmd("sh", ["-c", ~S("$0" < "$1"), Binary.example!("sigv4-sign"), file])
    File.rm!(file)
    String.split(output, "\n", trim: true)
  end
end
