defmodule Palladion.Integration.AuthCustomTest do
  @moduledoc """
  Authenticators of a user's own: their life cycle, and what they can't do to others when they fail.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Logins}

  alias Palladion.{ConfigError, ConnectionError}
  alias Palladion.Authenticator.Endpoint
  alias Palladion.Test.Authenticators.{CramMD5, Scripted}
  alias Palladion.Test.Testkit

  @moduletag :capture_log
  @moduletag timeout: 120_000

  @class "com.example.TwoRounds"

  # A server that challenges twice, and says something at the end.
  defp start_server(more \\ []) do
    [
      method: :script,
      authenticator: @class,
      challenges: Enum.map(["one", "two"], &Base.encode16/1),
      last: Base.encode16("done")
    ]
    |> Keyword.merge(more)
    |> Testkit.start_server()
  end

  defp start!(server, script, more \\ []) do
    {auth, more} = Keyword.pop(more, :auth, [])
    auth = [authenticator: {Scripted, script}] ++ auth
    ready_cluster!(server, soon([auth: auth, pool: [size: 1]] |> Keyword.merge(more)))
  end

  test "its life: new for each connection, the first response, each challenge, the end" do
    server = start_server()
    test = self()

    tell = fn what, answer ->
      send(test, {self(), what})
      answer
    end

    name =
      start!(server,
        new: &tell.({:new, &1}, {:ok, nil}),
        initial_response: fn -> tell.(:initial_response, {:ok, "hello"}) end,
        evaluate_challenge: &tell.({:challenge, &1}, {:ok, "re: " <> &1}),
        on_success: &tell.({:success, &1}, :ok)
      )

    await_connections(name, 2)
    assert mechanisms(name) == ["custom"]
    port = server.port

    for host <- ["localhost", "127.0.0.1"] do
      assert_received {pid, {:new, %Endpoint{host: ^host} = endpoint}}
      assert %Endpoint{address: "127.0.0.1", port: ^port, authenticator: @class} = endpoint
      assert_received {^pid, :initial_response}
      assert_received {^pid, {:challenge, "one"}}
      assert_received {^pid, {:challenge, "two"}}
      assert_received {^pid, {:success, "done"}}
      # It ends with the login.
      eventually("its process has ended", fn -> not Process.alive?(pid) end)
    end

    for it <- Testkit.connections(server), it.open do
      assert it.tokens == ["hello", "re: one", "re: two"]
      assert it.rounds == 3
    end
  end

  test "no token is not an empty one" do
    server = start_server()

    start!(server,
      initial_response: fn -> {:ok, nil} end,
      evaluate_challenge: fn _ -> {:ok, ""} end
    )

    assert [%{tokens: [nil, "", ""]} | _] = Testkit.connections(server)
  end

  test "a mechanism that is known, with the right secret and a wrong one" do
    server = Testkit.start_server(method: :cram_md5, user: "ann", password: "secret")
    name = ready_cluster!(server, auth: [authenticator: {CramMD5, {"ann", "secret"}}])
    assert mechanisms(name) == ["custom"]
    assert %{user: "ann"} = last_login(server)

    auth = [authenticator: {CramMD5, {"ann", "wrong"}}]
    refused!(server, [auth: auth], :bad_credentials)
  end

  test "options of a module that is none" do
    server = start_server()

    for authenticator <- [NoSuch.Module, String, {Scripted}, "Scripted"] do
      options = options(server, name: :never, auth: [authenticator: authenticator])
      assert {:error, %ConfigError{problems: [problem]}} = Palladion.start_link(options)
      assert problem.path == [:auth, :authenticator]
    end
  end

  test "large tokens, and many challenges" do
    challenges = for n <- 1..20, do: Base.encode16("challenge #{n}")
    server = start_server(challenges: challenges)
    large = String.duplicate("x", 60_000)
    start!(server, evaluate_challenge: fn challenge -> {:ok, challenge <> large} end)
    assert [%{rounds: 21} | _] = Testkit.connections(server)
  end

  # Which callback fails, and how.
  @failures [
    {"answers an error", :authenticator_failed, quote(do: {:error, :sealed})},
    {"raises", :authenticator_failed, quote(do: raise("secret-in-an-exception"))},
    {"throws", :authenticator_failed, quote(do: throw("secret-thrown"))},
    {"exits", :authenticator_failed, quote(do: exit("secret-in-an-exit"))},
    {"is killed", :authenticator_failed, quote(do: Process.exit(self(), :kill))},
    {"answers nonsense", :authenticator_failed, quote(do: {:secret, "secret-nonsense"})},
    {"hangs", :authenticator_timeout, quote(do: Process.sleep(:infinity))}
  ]

  for callback <- [:new, :initial_response, :evaluate_challenge, :on_success],
      {what, reason, failure} <- @failures do
    test "#{callback} #{what}: that login fails, others go on" do
      healthy = start_supervised!({Agent, fn -> true end})

      answer = fn good ->
        if Agent.get(healthy, & &1), do: good, else: unquote(failure)
      end

      script = [
        new: fn _endpoint -> answer.({:ok, nil}) end,
        initial_response: fn -> answer.({:ok, "hello"}) end,
        evaluate_challenge: fn _challenge -> answer.({:ok, "answer"}) end,
        on_success: fn _token -> answer.(:ok) end
      ]

      server = start_server()
      script = Keyword.take(script, [unquote(callback)])
      name = start!(server, script, auth: [timeout: 200], pool: [size: 2])
      other = start!(server, [])
      await_connections(name, 3)
      asking = Task.async(fn -> ask(name, healthy, []) end)

      Agent.update(healthy, fn _ -> false end)
      assert {:error, %ConnectionError{}} = Palladion.reconnect(name, 10_000)
      error = await_failure(name, unquote(reason))
      refute inspect(error) =~ "secret-"
      refute Exception.message(error) =~ "secret-"
      assert Palladion.reconnect(other) == :ok

      # It recovers by itself, and nobody who asked has noticed.
      Agent.update(healthy, fn _ -> true end)

      eventually("no attempt fails any more", fn ->
        match?({:ok, %{last_error: nil}}, Palladion.status(name))
      end)

      assert Palladion.reconnect(name) == :ok
      Agent.stop(healthy)
      assert Task.await(asking) == []
    end
  end

  # As long as there is the agent.
  defp ask(name, agent, errors) do
    if Process.alive?(agent) do
      case Palladion.query(name, "SELECT echo(int)", [1]) do
        {:ok, _} -> ask(name, agent, errors)
        {:error, error} -> ask(name, agent, [error | errors])
      end
    else
      errors
    end
  end

  test "one that hangs delays no other" do
    server = start_server()
    first = :counters.new(1, [])

    new = fn _endpoint ->
      :counters.add(first, 1, 1)
      # The third is the first of the pool's others.
      if :counters.get(first, 1) == 3, do: Process.sleep(:infinity)
      {:ok, nil}
    end

    begin = System.monotonic_time(:millisecond)
    name = start!(server, [new: new], auth: [timeout: 5_000], pool: [size: 6])
    eventually("all but one are open", fn -> length(connections(name)) >= 6 end)
    assert System.monotonic_time(:millisecond) - begin < 4_000
  end

  test "the server refuses, hangs up, or is silent: its process ends" do
    test = self()
    new = fn _endpoint -> {:ok, send(test, {:new, self()})} end
    # "initial" is no user's name with a mechanism of its own.
    refusing = [method: :plain, user: "ann", password: "secret", authenticator: @class]

    for {server, options, reason} <- [
          {Testkit.start_server(refusing), [], :bad_credentials},
          {start_server(close_after: 1), [], :connection_closed},
          {start_server(hang_after: 1), [login_timeout: 200], :login_timeout}
        ] do
      auth = [authenticator: {Scripted, [new: new]}]
      refused!(server, [auth: auth] ++ options, reason)
      assert_received {:new, pid}
      eventually("its process has ended", fn -> not Process.alive?(pid) end)
    end
  end

  test "changed while the cluster runs: other options, and another form" do
    server = Testkit.start_server(method: :cram_md5, user: "ann", password: "secret")
    allowed = [allowed_authenticators: ["testkit.SaslAuthenticator"]]
    auth = [authenticator: {CramMD5, {"ann", "secret"}}] ++ allowed
    name = ready_cluster!(server, soon(auth: auth, pool: [size: 1]))
    await_connections(name, 2)
    Testkit.set_login(server, method: :cram_md5, user: "ben", password: "another")
    assert Palladion.update_auth(name, authenticator: {CramMD5, {"ben", "another"}}) == :ok
    assert Palladion.reconnect(name) == :ok
    assert %{user: "ben"} = last_login(server)

    changes = [username: "ben", password: "another", mechanism: :cram_md5]
    assert Palladion.update_auth(name, changes) == :ok
    assert Palladion.reconnect(name) == :ok
    assert "CRAM-MD5" in mechanisms(name)

    assert Palladion.update_auth(name, authenticator: {CramMD5, {"ben", "wrong"}}) == :ok
    assert {:error, %ConnectionError{}} = Palladion.reconnect(name, 5_000)
    await_failure(name, :bad_credentials)
    assert {:ok, _} = Palladion.query(name, "SELECT echo(int)", [1])
  end
end
