defmodule Palladion.Integration.AuthPasswordTest do
  @moduledoc """
  Logins by password on a real server: right and wrong ones, roles that go and come, and passwords that are changed while callers
  never stop asking.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Certificates, only: [tmp_dir: 1]
  import Palladion.Test.{Clusters, Logins}

  alias Palladion.{ConfigError, ConnectionError, Error}
  alias Palladion.Authenticator.Endpoint
  alias Palladion.Test.{Cassandra, TelemetryEvents, Traffic}

  @moduletag :cassandra
  @moduletag :managed_server
  @moduletag :capture_log
  @moduletag timeout: 180_000

  @class "org.apache.cassandra.auth.PasswordAuthenticator"
  @first "the first password"
  @second "the second password"

  setup_all do
    server = Cassandra.server(:tls, audited())
    admin = ready_cluster!(server)
    Traffic.create_table!(admin)
    %{server: server, admin: admin}
  end

  setup %{admin: admin} do
    role = role!(admin, @first)
    %{role: role, auth: [username: role, password: @first]}
  end

  describe "a password" do
    test "that is right", %{server: server, admin: admin, auth: auth, role: role} do
      id = client_id()
      name = ready_cluster!(server, auth: auth, client_id: id, pool: [size: 3])
      await_connections(name, 4)
      for it <- connections(name), do: assert(%{authenticator: @class, mechanism: "PLAIN"} = it)
      assert seen(admin, id) == List.duplicate(role, 4)
      assert %{logins: 4, logins_refused: 0} = stats(name)
      assert %{accepted: [_, _, _, _], refused: []} = audit(server, role)
    end

    test "that is asked for as PLAIN", %{server: server, auth: auth} do
      for mechanism <- [:plain, [:plain]] do
        name = ready_cluster!(server, auth: auth ++ [mechanism: mechanism])
        assert mechanisms(name) == ["PLAIN"]
      end
    end

    test "that is wrong: one attempt at a time, with pauses", %{server: server, role: role} do
      events = TelemetryEvents.attach()
      auth = [username: role, password: "not the password"]
      pauses = [min: 100, max: 800]
      name = start_cluster!(server, auth: auth, pool: [size: 8], reconnect: pauses)
      eventually("some attempts", fn -> stats(name).logins_refused >= 5 end)
      error = await_failure(name, :bad_credentials)
      assert error.details.server_message =~ role
      refute Exception.message(error) =~ "not the password"
      stop_supervised!(name)
      :telemetry.detach(events)

      told =
        for {[_, :login, :refused], _, %{cluster: ^name}} <- TelemetryEvents.take(events), do: 1

      assert %{accepted: [], refused: times} = audit(server, role)
      # The last one may have been cut off by the end of the cluster.
      assert (length(times) - length(told)) in 0..1
      # The jitter takes up to half of a pause.
      for [one, next] <- Enum.chunk_every(times, 2, 1, :discard), do: assert(next - one >= 40)
    end

    test "in Palladion.Secret, of a function, and of files",
         %{server: server, role: role} = context do
      %{tmp_dir: dir} = tmp_dir(context)
      name_file = write!(dir, "username", role <> "\n")
      password_file = write!(dir, "password", @first <> "\r\n")

      for auth <- [
            [username: role, password: Palladion.Secret.wrap(@first)],
            [username: role, password: fn -> @first end],
            [username: role, password: {:file, password_file}],
            [username: {:file, name_file}, password: {:file, password_file}],
            [credentials: {:file, credentials_file(dir, role, @first)}]
          ] do
        assert {:ok, _} =
                 ready_cluster!(server, auth: auth)
                 |> Palladion.query("SELECT * FROM palladion_traffic.numbers")
      end
    end

    test "with an authorization id, which Cassandra doesn't look at",
         %{server: server, admin: admin, auth: auth, role: role} do
      id = client_id()
      auth = auth ++ [authorization_id: "cassandra"]
      name = ready_cluster!(server, auth: auth, client_id: id, pool: [size: 1])
      await_connections(name, 2)
      assert seen(admin, id) == [role, role]
    end
  end

  defp write!(dir, name, content), do: Palladion.Test.Certificates.write!(dir, name, content)

  # As cqlsh has it.
  defp credentials_file(dir, role, password) do
    write!(dir, "credentials", """
    ; the login of the application
    [PlainTextAuthProvider]
    username = #{role}
    password = #{password}
    """)
  end

  describe "a role" do
    test "that is dropped, and made again", %{server: server, admin: admin} = context do
      %{auth: auth, role: role} = context
      name = ready_cluster!(server, soon(auth: auth, pool: [size: 2]))
      await_connections(name, 3)
      select = "SELECT n FROM palladion_traffic.numbers WHERE id = 1"
      assert {:ok, _} = Palladion.query(name, select)

      change!(admin, "DROP ROLE #{role}")
      # Who is logged in stays so, and has no right to anything any more.
      assert {:error, %Error{reason: :unauthorized}} = Palladion.query(name, select)
      assert {:ok, _} = Palladion.query(name, "SELECT key FROM system.local")
      assert length(connections(name)) == 3

      assert {:error, %ConnectionError{} = error} = Palladion.reconnect(name, 5_000)
      assert root(error) == :bad_credentials
      refused!(server, [auth: auth], :bad_credentials)
      # Connections that can't be replaced are kept.
      assert {:ok, _} = Palladion.query(name, "SELECT key FROM system.local")

      create_role!(admin, role, @first)

      eventually("it has logged in again", fn ->
        match?({:ok, _}, Palladion.query(name, select))
      end)

      eventually("no attempt fails any more", fn ->
        match?({:ok, %{last_error: nil}}, Palladion.status(name))
      end)

      assert Palladion.reconnect(name) == :ok
    end

    test "that may not log in", %{server: server, admin: admin, auth: auth, role: role} do
      change!(admin, "ALTER ROLE #{role} WITH LOGIN = false")
      error = refused!(server, [auth: auth], :bad_credentials)
      assert error.details.server_message =~ "not permitted"
    end
  end

  # What a caller who waits is told stands within the error.
  defp root(%ConnectionError{details: %{last_error: {reason, _}}}), do: reason
  defp root(%ConnectionError{reason: reason}), do: reason

  describe "a password that is changed under 64 callers" do
    setup %{server: server} do
      %{start: fn auth -> under_traffic(server, auth) end}
    end

    test "and given by update_auth", %{start: start, auth: auth, role: role} = context do
      {name, traffic} = start.(auth)
      set_password!(context.admin, role, @second)
      assert Palladion.update_auth(name, password: @second) == :ok
      assert_log_in_anew(context, name, traffic)
    end

    test "and given by a function", %{start: start, role: role} = context do
      password = start_supervised!({Agent, fn -> @first end})
      credentials = fn _endpoint -> [username: role, password: Agent.get(password, & &1)] end
      {name, traffic} = start.(credentials: credentials)
      set_password!(context.admin, role, @second)
      Agent.update(password, fn _ -> @second end)
      assert_log_in_anew(context, name, traffic)
    end

    test "and put into a file", %{start: start, role: role} = context do
      %{tmp_dir: dir} = tmp_dir(context)
      file = write!(dir, "password", @first)
      {name, traffic} = start.(username: role, password: {:file, file})
      set_password!(context.admin, role, @second)
      File.rename!(write!(dir, "password.new", @second), file)
      assert_log_in_anew(context, name, traffic)
    end

    test "and put into a file of both", %{start: start, role: role} = context do
      %{tmp_dir: dir} = tmp_dir(context)
      file = credentials_file(dir, role, @first)
      {name, traffic} = start.(credentials: {:file, file})
      set_password!(context.admin, role, @second)
      credentials_file(dir, role, @second)
      assert_log_in_anew(context, name, traffic)
    end

    test "to another role's, by update_auth",
         %{start: start, auth: auth, admin: admin} = context do
      {name, traffic} = start.(auth)
      other = role!(admin, @second)
      assert Palladion.update_auth(name, username: other, password: @second) == :ok
      assert_log_in_anew(%{context | role: other}, name, traffic)
      # With its old login nobody is left.
      change!(admin, "DROP ROLE #{context.role}")
      assert {:ok, _} = Palladion.query(name, "SELECT * FROM palladion_traffic.numbers LIMIT 1")
    end
  end

  defp under_traffic(server, auth) do
    name = ready_cluster!(server, soon(auth: auth, pool: [size: 4], timeout: 30_000))
    await_connections(name, 5)
    {name, Traffic.start(name, callers: 64)}
  end

  # All connections are replaced twice by logins of the new password, and none is refused.
  defp assert_log_in_anew(%{server: server, role: role}, name, traffic) do
    Traffic.await_answers(traffic, 64)
    before = length(audit(server, role).accepted)
    for _ <- 1..2, do: assert(Palladion.reconnect(name, 60_000) == :ok)
    Traffic.await_answers(traffic, 64)
    assert %{errors: errors, wrong: [], messages: []} = Traffic.stop(traffic)
    assert errors == %{}
    assert %{logins_refused: 0} = stats(name)
    assert %{accepted: accepted, refused: []} = audit(server, role)
    # The control connection may stay.
    assert length(accepted) - before >= 8
  end

  describe "update_auth" do
    test "changes nothing where the changes are wrong", %{server: server, auth: auth} do
      name = ready_cluster!(server, auth: auth)

      for {changes, path, reason} <- [
            {[pasword: @second], [:auth, :pasword], :unknown_option},
            {[require_auth: false], [:auth, :require_auth], :needs_restart},
            {[allow_plaintext_password: true], [:auth, :allow_plaintext_password],
             :needs_restart},
            {[allowed_authenticators: ["A"]], [:auth, :allowed_authenticators], :needs_restart},
            {[password: {:file, "/does/not/exist"}], [:auth, :password], :file}
          ] do
        assert {:error, %ConfigError{problems: problems}} = Palladion.update_auth(name, changes)
        assert Enum.any?(problems, &(&1.path == path)), inspect(problems)
        assert reason == :file or Enum.any?(problems, &(&1.reason == reason)), inspect(problems)
      end

      assert Palladion.reconnect(name) == :ok
    end

    test "with a wrong password: open connections stay, until it is right again",
         %{server: server, auth: auth, role: role} do
      name = ready_cluster!(server, soon(auth: auth, pool: [size: 2]))
      await_connections(name, 3)
      assert Palladion.update_auth(name, password: "not the password") == :ok
      assert {:error, %ConnectionError{} = error} = Palladion.reconnect(name, 5_000)
      assert root(error) == :bad_credentials
      assert {:ok, _} = Palladion.query(name, "SELECT key FROM system.local")
      assert Palladion.update_auth(name, password: @first) == :ok
      eventually("it has logged in", fn -> Palladion.reconnect(name) == :ok end)
      assert [_ | _] = audit(server, role).refused
    end

    test "of nobody's cluster" do
      assert {:error, %ConnectionError{reason: :unknown_cluster}} =
               Palladion.update_auth(:nobody, [])
    end
  end

  describe "credentials of a function" do
    test "are asked for by host, at each login", %{server: server, auth: auth, admin: admin} do
      test = self()

      credentials = fn endpoint ->
        send(test, {:asked, endpoint})
        auth
      end

      id = client_id()

      name =
        ready_cluster!(server, auth: [credentials: credentials], client_id: id, pool: [size: 2])

      await_connections(name, 3)
      port = server.port
      assert_received {:asked, %Endpoint{host: "localhost", address: "127.0.0.1", port: ^port}}
      assert_received {:asked, %Endpoint{host: "127.0.0.1"} = endpoint}
      assert endpoint.authenticator == @class
      assert seen(admin, id) == List.duplicate(auth[:username], 3)
    end

    def by_host(%Endpoint{host: "localhost"}, _ann, ben), do: {:ok, ben}
    def by_host(%Endpoint{host: "127.0.0.1"}, ann, _ben), do: {:ok, Map.new(ann)}

    test "differ from host to host", %{server: server, auth: ann, admin: admin} do
      ben = %{"username" => role!(admin, @second), "password" => @second}
      id = client_id()
      auth = [credentials: {__MODULE__, :by_host, [ann, ben]}]
      name = ready_cluster!(server, auth: auth, client_id: id, pool: [size: 2])
      await_connections(name, 3)

      # The control connection goes to the contact point as it is given, the others to the node that is found there.
      names = [ben["username"], ann[:username], ann[:username]]
      assert admin |> seen(id) |> Enum.sort() == Enum.sort(names)
    end

    for {what, reason, answer} <- [
          {"fails", :credentials_failed, quote(do: {:error, "the vault is sealed"})},
          {"raises", :credentials_failed, quote(do: raise("the vault is sealed"))},
          {"throws", :credentials_failed, quote(do: throw(:sealed))},
          {"exits", :credentials_failed, quote(do: exit(:sealed))},
          {"is killed", :credentials_failed, quote(do: Process.exit(self(), :kill))},
          {"answers nonsense", :credentials_failed, quote(do: {:sealed, [1, 2]})},
          {"answers half a login", :credentials_failed, quote(do: [username: "ann"])},
          {"hangs", :credentials_timeout, quote(do: Process.sleep(:infinity))}
        ] do
      test "where it #{what}: that login fails, others go on", context do
        %{server: server, auth: auth} = context
        healthy = start_supervised!({Agent, fn -> true end})

        credentials = fn _endpoint ->
          if Agent.get(healthy, & &1), do: auth, else: unquote(answer)
        end

        options = [auth: [credentials: credentials, timeout: 300], pool: [size: 2]]
        name = ready_cluster!(server, soon(options))
        other = ready_cluster!(server, auth: auth)
        await_connections(name, 3)
        traffic = Traffic.start(name, callers: 8)

        Agent.update(healthy, fn _ -> false end)
        assert {:error, %ConnectionError{} = error} = Palladion.reconnect(name, 10_000)
        assert root(error) == unquote(reason)
        refute Exception.message(await_failure(name, unquote(reason))) =~ @first
        assert Palladion.reconnect(other) == :ok

        # What was open serves on, and it recovers by itself.
        Agent.update(healthy, fn _ -> true end)

        eventually("no attempt fails any more", fn ->
          match?({:ok, %{last_error: nil}}, Palladion.status(name))
        end)

        assert Palladion.reconnect(name) == :ok
        Traffic.await_answers(traffic, 8)
        assert %{errors: errors} = Traffic.stop(traffic)
        assert errors == %{}
        # None of these was the server's.
        assert stats(name).logins_refused == 0
      end
    end
  end
end

defmodule Palladion.Integration.AuthNotRequestedTest do
  @moduledoc """
  A real server that asks nobody who he is.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Logins}

  alias Palladion.Test.Cassandra

  @moduletag :cassandra
  @moduletag :managed_server
  @moduletag :capture_log

  @auth [username: "ann", password: "secret", allow_plaintext_password: true]

  setup do
    %{server: Cassandra.server(:plain)}
  end

  test "is refused where a login is configured", %{server: server} do
    refused!(server, [auth: @auth], :auth_not_requested)
    refused!(server, [auth: [mechanism: :scram_sha_256] ++ @auth], :auth_not_requested)

    credentials = [
      credentials: fn _endpoint -> flunk("asked") end,
      allow_plaintext_password: true
    ]

    refused!(server, [auth: credentials], :auth_not_requested)
  end

  test "is taken where that is allowed", %{server: server} do
    name = ready_cluster!(server, auth: [require_auth: false] ++ @auth)
    for it <- connections(name), do: assert(%{authenticator: nil, mechanism: nil} = it)
    assert %{logins: 0} = stats(name)
  end
end
