defmodule Palladion.Integration.AuthSASLTest do
  @moduledoc """
  The mechanisms of SASL against an independent server's side: right and wrong logins, a server that can't prove that it knows the
  password, nonsense, and mechanisms that are negotiated.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Logins}

  alias Palladion.ConfigError
  alias Palladion.Test.Testkit

  @moduletag :capture_log
  @moduletag timeout: 120_000

  @user "ann"
  @password "the right password"
  # What is no more than hidden by MD5, or not at all, is for classes that may have it.
  @classes ["testkit.SaslAuthenticator", "com.datastax.bdp.cassandra.auth.DseAuthenticator"]
  @auth [username: @user, password: @password, allowed_authenticators: @classes]

  @mechanisms [
    plain: "PLAIN",
    cram_md5: "CRAM-MD5",
    digest_md5: "DIGEST-MD5",
    scram_sha_1: "SCRAM-SHA-1",
    scram_sha_256: "SCRAM-SHA-256"
  ]

  # Of these a server proves in its last message that it knows the password, too.
  @mutual [:digest_md5, :scram_sha_1, :scram_sha_256]

  defp start_server(options),
    do: Testkit.start_server([user: @user, password: @password] ++ options)

  defp tls(server), do: [cacertfile: server.cacertfile]

  defp tls_of_client(server),
    do: tls(server) ++ [certfile: server.client_certfile, keyfile: server.client_keyfile]

  # What the server was told in each login that it knows of, and in all of them together.
  defp logins(server), do: for(it <- Testkit.connections(server), it.mechanism, do: it)
  defp told(server), do: server |> logins() |> Enum.flat_map(& &1.tokens) |> Enum.filter(& &1)

  describe "a login by" do
    for {mechanism, name} <- @mechanisms do
      @tag mechanism: mechanism, sasl: name
      test "#{name}", %{mechanism: mechanism, sasl: sasl} do
        server = start_server(method: mechanism)
        auth = @auth ++ [mechanism: mechanism]
        name = ready_cluster!(server, auth: auth, pool: [size: 3])
        await_connections(name, 4)
        assert mechanisms(name) == [sasl]

        for login <- logins(server),
            do: assert(%{mechanism: ^sasl, user: @user, refused: nil} = login)

        assert %{logins: 4, failed_logins: 0} = Testkit.wait(server, logins: 4)
        assert mechanism == :plain or Enum.all?(told(server), &(not (&1 =~ @password)))
        assert Palladion.reconnect(name) == :ok
      end

      @tag mechanism: mechanism
      test "#{name} with a wrong password, or as nobody", %{mechanism: mechanism} do
        server = start_server(method: mechanism)

        for wrong <- [[password: "wrong"], [username: "ben"]] do
          auth = @auth |> Keyword.merge(wrong) |> Keyword.put(:mechanism, mechanism)
          error = refused!(server, [auth: auth], :bad_credentials)
          refute inspect(error) =~ "wrong"
        end

        assert %{logins: 0, query: 0, register: 0} = Testkit.counters(server)
      end

      @tag mechanism: mechanism
      test "#{name} with names and passwords of all letters", %{mechanism: mechanism} do
        for {user, password} <- [
              {"a=b,c", "n,=p=r,"},
              {"ünï çødé", "pässwörd ☃"},
              {~S(quo"te\back), ~S("\"\\")}
            ] do
          server = Testkit.start_server(method: mechanism, user: user, password: password)
          auth = @auth |> Keyword.merge(username: user, password: password)
          ready_cluster!(server, auth: auth ++ [mechanism: mechanism])
          assert %{user: ^user} = last_login(server)
        end
      end
    end

    test "EXTERNAL" do
      server = start_server(method: :external, client_auth: :required)
      options = [tls: tls_of_client(server)]
      name = ready_cluster!(server, [auth: [mechanism: :external]] ++ options)
      assert mechanisms(name) == ["EXTERNAL"]
      assert %{mechanism: "EXTERNAL", user: @user} = last_login(server)

      auth = [mechanism: :external, authorization_id: "ben"]
      refused!(server, [auth: auth] ++ options, :bad_credentials)
      server = start_server(method: :external, client_auth: :required, may_act_as: ["ben"])
      ready_cluster!(server, auth: auth, tls: tls_of_client(server))
      assert %{authorization_id: "ben"} = last_login(server)
    end

    test "ANONYMOUS" do
      server = Testkit.start_server(method: :anonymous)
      name = ready_cluster!(server, auth: [mechanism: :anonymous, authorization_id: "a trace"])
      assert mechanisms(name) == ["ANONYMOUS"]

      assert [%{mechanism: "ANONYMOUS", authorization_id: "a trace"} | _] = logins(server)

      ready_cluster!(server, auth: [mechanism: :anonymous])
    end

    for mechanism <- [:plain, :digest_md5, :scram_sha_1, :scram_sha_256] do
      @tag mechanism: mechanism
      test "#{mechanism} as another one", %{mechanism: mechanism} do
        server = start_server(method: mechanism, may_act_as: ["ben"])
        auth = @auth ++ [mechanism: mechanism]
        ready_cluster!(server, auth: auth ++ [authorization_id: "ben"])
        assert %{authorization_id: "ben", user: @user} = last_login(server)

        error = refused!(server, [auth: auth ++ [authorization_id: "eve"]], :bad_credentials)
        assert is_binary(error.details.server_message)
      end
    end

    test "SCRAM needs no TLS, others do" do
      server = start_server(tls: false, method: :scram_sha_256)
      name = ready_cluster!(server, tls: false, auth: @auth ++ [mechanism: :scram_sha_256])
      assert mechanisms(name) == ["SCRAM-SHA-256"]

      for mechanism <- [:plain, :cram_md5, :digest_md5, [:scram_sha_256, :plain]] do
        options = [name: :never] ++ options(server, auth: @auth ++ [mechanism: mechanism])
        assert {:error, %ConfigError{problems: [problem]}} = Palladion.start_link(options)
        assert %{path: [:auth, :allow_plaintext_password], reason: :plaintext_password} = problem
      end

      options = options(server, auth: [mechanism: :external])
      assert {:error, %ConfigError{}} = Palladion.start_link([name: :never] ++ options)
    end
  end

  describe "a server that doesn't prove that it knows the password" do
    for mechanism <- @mutual, message <- [:wrong, :missing], final <- [:success, :challenge] do
      @tag mechanism: mechanism, message: message, final: final
      test "by #{mechanism}: its last message, in #{final}, is #{message}", context do
        %{mechanism: mechanism, message: message, final: final} = context
        server = start_server(method: mechanism, last_message: message, final: final)
        auth = @auth ++ [mechanism: mechanism]
        error = refused!(server, [auth: auth], :server_not_authentic)
        assert error.details.mechanism == @mechanisms[mechanism]
        # It was told nothing more, not even what is of interest.
        counters = Testkit.counters(server)
        assert %{query: 0, prepare: 0, execute: 0, batch: 0, register: 0} = counters
      end
    end

    for mechanism <- @mutual do
      @tag mechanism: mechanism
      test "and one that does so in a challenge is taken: #{mechanism}", %{mechanism: mechanism} do
        server = start_server(method: mechanism, final: :challenge)
        ready_cluster!(server, auth: @auth ++ [mechanism: mechanism])
        assert [%{rounds: rounds} | _] = logins(server)
        assert rounds >= 3
      end
    end
  end

  describe "nonsense for" do
    # What each first challenge is replaced with.
    @nonsense [
      cram_md5: [""],
      digest_md5: ["", "nonce", ~s(realm="r"), ~s(nonce="a",qop="auth-conf",algorithm=md5-sess)],
      scram_sha_1: ["", "r=,s=,i=", "r=x,s=AAAA,i=4096", "m=1,r=x,s=AAAA,i=4096"],
      scram_sha_256: ["", "r=,s=,i=", <<255, 0, 254>>]
    ]

    for {mechanism, challenges} <- @nonsense do
      @tag mechanism: mechanism, challenges: challenges
      test "#{mechanism}", %{mechanism: mechanism, challenges: challenges} do
        for challenge <- challenges do
          server = start_server(method: mechanism, challenge: Base.encode16(challenge))
          auth = @auth ++ [mechanism: mechanism]
          error = refused!(server, [auth: auth], :challenge_malformed)
          assert error.details.mechanism == @mechanisms[mechanism]
          assert %{logins: 0, query: 0} = Testkit.counters(server)
        end
      end
    end

    test "SCRAM: an error of the server's own" do
      server = start_server(method: :scram_sha_256, challenge: Base.encode16("e=other-error"))
      auth = @auth ++ [mechanism: :scram_sha_256]
      assert refused!(server, [auth: auth], :mechanism_refused).details.detail =~ "other-error"
    end

    test "SCRAM: iterations that would cost too much, or protect nothing" do
      for iterations <- [1, 2_000_000_000] do
        server = start_server(method: :scram_sha_256, iterations: iterations)
        auth = @auth ++ [mechanism: :scram_sha_256]
        {us, _} = :timer.tc(fn -> refused!(server, [auth: auth], :challenge_malformed) end)
        assert us < 3_000_000
      end
    end

    test "patience: challenges without end, silence, and a server that goes" do
      auth = @auth ++ [mechanism: :scram_sha_256]
      server = start_server(method: :scram_sha_256, endless: true, final: :challenge)
      refused!(server, [auth: auth], :challenge_malformed)
      server = start_server(method: :scram_sha_256, hang_after: 1)
      refused!(server, [auth: auth, login_timeout: 200], :login_timeout)
      server = start_server(method: :scram_sha_256, close_after: 1)
      refused!(server, [auth: auth], :connection_closed)
    end
  end

  describe "mechanisms in order of preference" do
    @all ["PLAIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"]

    for {title, server, client, sasl, refused} <- [
          {"the first is taken", @all, [:scram_sha_256, :plain], "SCRAM-SHA-256", 0},
          {"the next, if the server has not the first", ["SCRAM-SHA-1", "PLAIN"],
           [:scram_sha_256, :scram_sha_1, :plain], "SCRAM-SHA-1", 1},
          {"the last", ["PLAIN"], [:scram_sha_256, :scram_sha_1, :plain], "PLAIN", 2},
          {"where the server speaks first", ["CRAM-MD5"], [:scram_sha_256, :cram_md5], "CRAM-MD5",
           1},
          {"where there is only one", ["DIGEST-MD5"], [:digest_md5], "DIGEST-MD5", 0}
        ] do
      @tag server: server, client: client, sasl: sasl, refused: refused
      test title, %{server: mechanisms, client: client, sasl: sasl, refused: refused} do
        server = start_server(mechanisms: mechanisms)
        name = ready_cluster!(server, auth: @auth ++ [mechanism: client], pool: [size: 2])
        await_connections(name, 3)
        assert mechanisms(name) == [sasl]
        assert Testkit.counters(server).refused_mechanisms == 3 * refused
      end
    end

    test "none in common: no password is sent" do
      server = start_server(mechanisms: ["PLAIN"])
      auth = @auth ++ [mechanism: [:scram_sha_256, :scram_sha_1]]
      refused!(server, [auth: auth], :mechanism_refused)
      assert Enum.all?(told(server), &(&1 in ["SCRAM-SHA-256", "SCRAM-SHA-1"]))
    end

    test "a wrong password is no reason to try another one" do
      server = start_server(mechanisms: @all)
      auth = Keyword.merge(@auth, password: "wrong", mechanism: [:scram_sha_256, :plain])
      refused!(server, [auth: auth], :bad_credentials)
      refute "PLAIN" in told(server)
      refute Enum.any?(told(server), &(&1 =~ "wrong"))
    end
  end

  describe "an unknown authenticator" do
    test "never sees the password, unless it is allowed" do
      server = start_server(authenticator: "com.example.Unknown")

      for auth <- [
            @auth,
            @auth ++ [mechanism: :plain],
            @auth ++ [mechanism: [:scram_sha_256, :plain]]
          ] do
        error = refused!(server, [auth: auth], :unknown_authenticator)
        assert error.details.class == "com.example.Unknown"
      end

      assert %{auth_response: 0} = Testkit.counters(server)

      auth = Keyword.put(@auth, :allowed_authenticators, ["com.example.Unknown"])
      name = ready_cluster!(server, auth: auth)
      assert [%{authenticator: "com.example.Unknown"} | _] = connections(name)
    end

    test "may have proofs that don't tell the password" do
      for mechanism <- [:scram_sha_1, :scram_sha_256] do
        server = start_server(method: mechanism)
        auth = [username: @user, password: @password, mechanism: mechanism]
        ready_cluster!(server, auth: auth)
      end

      for mechanism <- [:cram_md5, :digest_md5] do
        server = start_server(method: mechanism)
        auth = [username: @user, password: @password, mechanism: mechanism]
        refused!(server, [auth: auth], :unknown_authenticator)
        assert %{auth_response: 0} = Testkit.counters(server)
      end
    end
  end

  describe "the configuration is changed while callers never stop asking" do
    test "from mechanism to mechanism" do
      server = start_server(method: :scram_sha_256)
      auth = @auth ++ [mechanism: :scram_sha_256]
      name = ready_cluster!(server, soon(auth: auth, pool: [size: 2]))
      await_connections(name, 3)
      asking = asking(name)

      for {mechanism, sasl} <- @mechanisms do
        Testkit.set_login(server, user: @user, password: @password, method: mechanism)
        assert Palladion.update_auth(name, mechanism: mechanism) == :ok
        assert Palladion.reconnect(name) == :ok
        eventually("all by #{sasl}", fn -> sasl in mechanisms(name) end)
      end

      assert_answered(asking)
    end
  end

  # Callers, and what they are told until they are to stop.
  defp asking(name) do
    stop = :counters.new(1, [])
    {stop, for(_ <- 1..8, do: Task.async(fn -> ask(name, stop, []) end))}
  end

  defp ask(name, stop, errors) do
    if :counters.get(stop, 1) > 0 do
      errors
    else
      case Palladion.query(name, "SELECT echo(int)", [1]) do
        {:ok, _} -> ask(name, stop, errors)
        {:error, error} -> ask(name, stop, [error | errors])
      end
    end
  end

  defp assert_answered({stop, callers}) do
    :counters.add(stop, 1, 1)
    assert callers |> Task.await_many(30_000) |> List.flatten() == []
  end
end
