defmodule Palladion.ConfigTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.{Config, ConfigError}
  alias Palladion.Test.Certificates, as: Make

  @secret "hunter2"

  setup_all do
    %{chain: Make.chain()}
  end

  # Without TLS, so that no test depends on the system's roots.
  defp parse(options), do: Config.parse(Keyword.merge([name: MyApp.DB, tls: false], options))

  defp parse!(options) do
    assert {:ok, %Config{} = config} = parse(options)
    config
  end

  defp problems(options) do
    assert {:error, %ConfigError{} = error} = parse(options)
    refute Exception.message(error) =~ @secret
    Enum.map(error.problems, &{&1.path, &1.reason})
  end

  describe "parse/1" do
    test "has a default for everything but the name" do
      config = parse!([])

      assert config.name == MyApp.DB
      assert [%{host: "localhost", port: 9042}] = config.contact_points
      assert config.consistency == :local_one
      assert %{request: 10_000, connect: 5_000, tls: 5_000, login: 10_000} = config.timeouts
      assert %{shutdown: 5_000, heartbeat_interval: 30_000, heartbeat: 5_000} = config.timeouts
      assert config.timeouts.sync_connect == false
      assert %{min: 500, max: 60_000} = config.reconnect
      assert %{size: 2, max_queue: 1_024, max_in_flight: 8_192, max_waiters: 4_096} = config.pool
      assert %{version: nil, max_frame_size: 268_435_456} = config.protocol
      assert config.prepared_cache_size == 1_000
      assert {config.tls, config.auth} == {nil, nil}
      assert {config.keyspace, config.local_datacenter} == {nil, nil}
      assert {config.timeouts.attempt, config.slow_query_threshold} == {nil, nil}
      assert %{remote_size: 1, max_handshakes: 8} = config.pool
      assert config.load_balancing == {Palladion.LoadBalancingPolicies.RoundRobin, []}
      assert config.endpoint_resolver == {Palladion.EndpointResolvers.Announced, []}
      assert config.retry == {Palladion.RetryPolicies.Default, []}
      assert %{debounce: 1_000, refresh_interval: 300_000} = config.topology
      assert %{timeout: 10_000, interval: 200} = config.schema_agreement
    end

    test "TLS is on unless it is turned off" do
      case Config.parse(name: MyApp.DB) do
        {:ok, config} -> assert %{verify: :peer, verified_name: nil} = config.tls
        {:error, error} -> assert [%{reason: :no_system_roots}] = error.problems
      end
    end

    test "finds everything that is wrong at once" do
      assert {:error, error} =
               Config.parse(
                 name: MyApp.DB,
                 contact_point: "db1",
                 port: 0,
                 keyspace: "drop table",
                 timeout: :infinity,
                 pool: [sise: 3, max_queue: 0],
                 protocol: [version: 2],
                 reconnect: [min: 10, max: 5, policy: :exponentail],
                 load_balancing: :round_robbin,
                 endpoint_resolver: {:template, "node-{hostid}.example"},
                 retry: {:default, max_atempts: 5},
                 topology: [refresh: 5],
                 schema_agreement: [time_out: 5],
                 tls: [cacertfile: "none.pem", versions: [:tlsv1]],
                 auth: [username: "app"],
                 client_id: "me"
               )

      assert error.name == MyApp.DB

      assert error.problems |> Enum.map(& &1.path) |> Enum.sort() == [
               [:auth, :password],
               [:client_id],
               [:contact_point],
               [:endpoint_resolver],
               [:keyspace],
               [:load_balancing],
               [:pool, :max_queue],
               [:pool, :sise],
               [:port],
               [:protocol, :version],
               [:reconnect, :max],
               [:reconnect, :policy],
               [:retry, :max_atempts],
               [:schema_agreement, :time_out],
               [:timeout],
               [:tls, :cacertfile],
               [:tls, :versions],
               [:topology, :refresh]
             ]

      message = Exception.message(error)
      assert message =~ "the configuration of MyApp.DB has 18 problems"
      assert message =~ "contact_point: unknown option, did you mean :contact_points?"
      assert message =~ "pool.sise: unknown option, did you mean :size?"
      assert message =~ "there is no such module; did you mean :round_robin?"
      assert message =~ "there is no such module; did you mean :exponential?"
      assert message =~ "unknown variable {hostid}, did you mean {host_id}?"
      assert message =~ "retry.max_atempts: unknown option, did you mean :max_attempts?"
    end

    test "an option in the wrong place is told where it belongs" do
      for {option, text} <- [
            {:password, "it belongs into tls: [...] or auth: [...]"},
            {:username, "it belongs into auth: [...]"},
            {:cacertfile, "it belongs into tls: [...]"},
            {:max_queue, "it belongs into pool: [...]"},
            {:nodes, "it is called contact_points: [...] here"},
            {:max_attempts,
             "it belongs into retry: {:default, [...]} or retry: {:keyspaces, [...]}"},
            {:region, "it is called auth: [sigv4: [region: ...]] here"},
            {:remote_nodes, "it belongs into load_balancing: {:round_robin, [...]}"},
            {:debounce, "it belongs into topology: [...]"},
            {:load_balancing_policy, "it is called load_balancing: ... here"},
            {:retry_policy, "it is called retry: ... here"},
            {:address_translator, "it is called endpoint_resolver: ... here"},
            {:endpoint_factory, "it is called endpoint_resolver: ... here"},
            {:reconnection_policy, "it is called reconnect: [policy: ...] here"},
            {:default_idempotence, "it is said with each request here, as idempotent: true"},
            {:ssl_options, "it is called tls: [...] here"},
            {:ssl_context, "it is called tls: [...] here"},
            {:auth_provider, "it is called auth: [...] here"},
            {:authenticator, "it belongs into auth: [...]"},
            {:aws_access_key_id, "it is called auth: [sigv4: [access_key_id: ...]] here"},
            {:access_key_id, "it belongs into auth: [sigv4: [...]]"},
            {:tls_session_cache_enabled,
             "it is called tls: [session_cache: false] or [...] here"},
            {:tls_session_cache_size, "it is called tls: [session_cache: [size: ...]] here"},
            {:tls_session_cache_ttl, "it is called tls: [session_cache: [ttl: ...]] here"}
          ] do
        assert {:error, %{problems: [problem]}} = parse([{option, @secret}])
        assert problem.message == "unknown option, #{text}"
      end
    end

    test "names" do
      for name <- [:db, MyApp.DB, {:via, Registry, {MyApp.Registry, "tenant"}}] do
        assert parse!(name: name).name == name
      end

      for bad <- ["db", true, {:global, :db}, {:via, "Registry", :db}, 17, self()] do
        assert problems(name: bad) == [{[:name], :invalid_value}]
      end

      assert problems(name: nil) == [{[:name], :required}]
      assert {:error, %{name: nil, problems: [%{reason: :required}]}} = Config.parse(tls: false)
    end

    test "keyspaces" do
      assert parse!(keyspace: "My_ks1").keyspace == "My_ks1"

      for bad <- [~s("quoted"), "a b", "a;b", "", :ks] do
        assert problems(keyspace: bad) == [{[:keyspace], :invalid_value}]
      end
    end

    test "the client id is a UUID, a random one by default" do
      first = parse!([]).client_id
      assert first =~ ~r/\A[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\z/
      assert parse!([]).client_id != first
      assert parse!(client_id: first).client_id == first
      assert problems(client_id: "42") == [{[:client_id], :invalid_value}]
    end

    test "numbers have bounds" do
      for {option, bads} <- [
            port: [0, 65_536, "9042"],
            timeout: [0, -1, 1.5, :infinity, nil],
            connect_timeout: [0],
            heartbeat_interval: [0],
            prepared_cache_size: [0],
            attempt_timeout: [0, :infinity],
            slow_query_threshold: [0],
            sync_connect: [true, 0],
            consistency: [:serial, "quorum"]
          ],
          bad <- bads do
        assert problems([{option, bad}]) == [{[option], :invalid_value}], inspect({option, bad})
      end

      for {section, option, bad} <- [
            {:pool, :size, 0},
            {:pool, :remote_size, 0},
            {:pool, :max_handshakes, 0},
            {:pool, :max_in_flight, 32_769},
            {:topology, :debounce, -1},
            {:topology, :refresh_interval, 0},
            {:schema_agreement, :timeout, 0},
            {:schema_agreement, :interval, 0},
            {:pool, :max_waiters, 0},
            {:protocol, :max_frame_size, 268_435_457},
            {:reconnect, :min, 0}
          ] do
        assert problems([{section, [{option, bad}]}]) == [{[section, option], :invalid_value}]
      end

      assert parse!(sync_connect: 100).timeouts.sync_connect == 100
      assert parse!(reconnect: [min: 5, max: 5]).reconnect.max == 5
      assert parse!(topology: [debounce: 0]).topology.debounce == 0
      assert parse!(attempt_timeout: 2_000).timeouts.attempt == 2_000
      assert parse!(slow_query_threshold: 500).slow_query_threshold == 500
    end

    test "what is no keyword list is not shown" do
      for bad <- [@secret, %{password: @secret}, {:password, @secret}, [@secret]] do
        assert {:error, %{problems: [_ | _]} = error} = Config.parse(bad)
        assert %{path: [], reason: :invalid_value} = hd(error.problems)
        refute Exception.message(error) =~ @secret
      end
    end

    test "sealed options give what raw ones do", %{chain: chain} do
      options = [
        name: MyApp.DB,
        client_id: "0189c7a4-5a2f-7cc3-9f4e-0123456789ab",
        tls: [cacerts: [chain.root]],
        auth: [username: "app", password: @secret]
      ]

      assert {:ok, raw} = Config.parse(options)
      assert {:ok, sealed} = Config.parse(Config.seal(options))
      assert without_secret(raw) == without_secret(sealed)
    end

    # A reference is like no other.
    defp without_secret(%{auth: %{method: {:sasl, sasl}} = auth} = config) do
      assert %{credentials: {:static, %{password: ref}}} = sasl
      assert is_reference(ref)
      %{config | auth: %{auth | method: nil, source: nil}}
    end

    test "sealed mistakes are the same mistakes" do
      for options <- [
            [name: MyApp.DB, tls: false, auth: [username: "app", password: 17]],
            [name: MyApp.DB, tls: false, auth: [username: "app", passwrd: @secret]],
            [name: MyApp.DB, tls: false, auth: @secret],
            [name: MyApp.DB, tls: @secret],
            [name: MyApp.DB, tls: [cacerts: [], password: @secret]],
            [name: MyApp.DB, tls: [cacerts: [], cert: "", key: {:RSAPrivateKey, @secret}]],
            [name: MyApp.DB, tls: false, secret: @secret]
          ] do
        assert {:error, error} = Config.parse(options)
        assert Config.parse(Config.seal(options)) == {:error, error}
      end
    end
  end

  describe "warnings" do
    test "none when all is on", %{chain: chain} do
      assert parse!(tls: [cacerts: [chain.root]]).warnings == []
    end

    test "one for each thing that is given up", %{chain: chain} do
      auth = [username: "app", password: @secret, allow_plaintext_password: true]

      for {options, paths} <- [
            {[tls: false], [[:tls]]},
            {[tls: false, auth: auth], [[:tls], [:auth, :allow_plaintext_password]]},
            {[tls: [verify: :verify_none]], [[:tls, :verify]]},
            {[tls: [cacerts: [chain.root], verify_hostname: false]], [[:tls, :verify_hostname]]},
            {[tls: [cacerts: [chain.root], key_log: "keys.log"]], [[:tls, :key_log]]},
            {[tls: [verify: :verify_none, key_log: "keys.log"]],
             [[:tls, :verify], [:tls, :key_log]]},
            {[tls: [pinned: :crypto.hash(:sha256, chain.leaf)]], []},
            {[tls: [cacerts: [chain.root]], auth: auth], []}
          ] do
        warnings = parse!(options).warnings
        assert Enum.map(warnings, &elem(&1, 0)) == paths
        assert Enum.all?(warnings, fn {_path, text} -> is_binary(text) end)
      end
    end
  end

  describe "to_native/1" do
    test "is exactly what the native library takes" do
      config =
        parse!(
          contact_points: ["db1", {"db2", 9142}],
          keyspace: "shop",
          application_name: "app",
          application_version: "1",
          client_id: "0189c7a4-5a2f-7cc3-9f4e-0123456789ab",
          local_datacenter: "dc1"
        )

      assert Config.to_native(config) == %{
               name: "MyApp.DB",
               contact_points: [
                 %{host: "db1", port: 9042, verified_name: nil},
                 %{host: "db2", port: 9142, verified_name: nil}
               ],
               keyspace: "shop",
               application_name: "app",
               application_version: "1",
               client_id: "0189c7a4-5a2f-7cc3-9f4e-0123456789ab",
               driver_version: Mix.Project.config()[:version],
               pool_size: 2,
               max_handshakes: 8,
               max_queue: 1_024,
               max_in_flight: 8_192,
               max_overflow: 0,
               max_waiters: 4_096,
               prepared_cache_size: 1_000,
               max_frame_size: 268_435_456,
               max_response_size: 67_108_864,
               protocol_version: nil,
               compression: nil,
               connect_timeout: 5_000,
               tls_timeout: 5_000,
               login_timeout: 10_000,
               heartbeat_interval: 30_000,
               heartbeat_timeout: 5_000,
               reconnect_policy: :exponential,
               reconnect_min: 500,
               reconnect_max: 60_000,
               tls: nil,
               auth: nil
             }
    end

    test "has a name for each contact point where there is none for all", %{chain: chain} do
      native = fn verify_hostname ->
        tls = [cacerts: [chain.root], verify_hostname: verify_hostname]
        config = parse!(contact_points: ["db1", "db2:9142"], tls: tls)
        native = Config.to_native(config)
        {native.tls.verified_name, Enum.map(native.contact_points, & &1.verified_name)}
      end

      for {verify_hostname, names} <- [
            {nil, {nil, [nil, nil]}},
            {false, {false, [nil, nil]}},
            {"db.example", {"db.example", [nil, nil]}},
            {%{"db2:9142" => "db2.example"}, {nil, [nil, "db2.example"]}},
            {"{address}.example", {nil, ["db1.example", "db2.example"]}},
            {"{host_id}.example", {nil, [nil, nil]}},
            {&"n#{&1.port}", {nil, ["n9042", "n9142"]}}
          ] do
        assert native.(verify_hostname) == names
      end
    end

    test "has secrets as bare references", %{chain: chain} = context do
      %{tmp_dir: dir} = tmp_dir(context)

      certificate =
        Make.write!(dir, "client.pem", Make.pem(chain.leaf) <> Make.key_pem(chain.key))

      tls = [cacerts: [chain.root], certfile: certificate, verify_hostname: "db.example"]
      config = parse!(tls: tls, auth: [username: "app", password: @secret])

      assert %{tls: native_tls, auth: native_auth} = Config.to_native(config)

      assert {:sec1, key} = native_tls.key
      assert is_reference(key)

      assert Map.delete(native_tls, :key) == %{
               verify: :peer,
               verified_name: "db.example",
               sni: nil,
               cacerts: [chain.root],
               pins: [],
               crls: [],
               crl_check: :chain,
               cert_chain: [chain.leaf],
               versions: [:"tlsv1.2", :"tlsv1.3"],
               cipher_suites: nil,
               groups: nil,
               key_log: nil,
               session_cache: %{size: 100, ttl: 3_600, max_lineage: 86_400}
             }

      assert {:sasl, %{credentials: {:static, %{password: password} = login}}} =
               native_auth.method

      assert is_reference(password)
      assert Map.delete(login, :password) == %{username: "app", authorization_id: nil}

      assert Map.delete(native_auth, :method) == %{
               require_auth: true,
               allowed_authenticators: [],
               timeout: 5_000
             }
    end
  end

  describe "load/1" do
    # The environment of an application that doesn't exist is this test's own.
    defp in_environment(environment) do
      app = :"palladion_test_#{System.unique_integer([:positive])}"
      Application.put_env(app, MyApp.DB, environment)
      on_exit(fn -> Application.delete_env(app, MyApp.DB) end)
      [otp_app: app, name: MyApp.DB]
    end

    test "reads the environment of otp_app" do
      options = in_environment(tls: false, contact_points: ["db1"], pool: [size: 3])

      assert {:ok, %Config{name: MyApp.DB, pool: %{size: 3}} = config} = Config.load(options)
      assert [%{host: "db1"}] = config.contact_points
    end

    test "options beside it win, section by section", %{chain: chain} do
      options =
        in_environment(
          contact_points: ["db1"],
          pool: [size: 3, max_queue: 7],
          topology: [debounce: 5, refresh_interval: 7],
          schema_agreement: [timeout: 5],
          tls: [cacerts: [chain.root], verify_hostname: "a"],
          auth: [username: "app", password: @secret]
        )

      assert {:ok, config} =
               Config.load(
                 options ++
                   [
                     contact_points: ["db2"],
                     pool: [size: 4],
                     topology: [debounce: 6],
                     schema_agreement: [interval: 3],
                     tls: [verify_hostname: "b"],
                     auth: [require_auth: false]
                   ]
               )

      assert [%{host: "db2"}] = config.contact_points
      assert %{size: 4, max_queue: 7} = config.pool
      assert %{debounce: 6, refresh_interval: 7} = config.topology
      assert %{timeout: 5, interval: 3} = config.schema_agreement
      assert %{verified_name: "b", cacerts: [_]} = config.tls
      assert %{method: {:sasl, %{credentials: login}}, require_auth: false} = config.auth
      assert {:static, %{username: "app"}} = login

      # Another way to log in takes the place of the one below.
      function = fn _endpoint -> nil end
      assert {:ok, config} = Config.load(options ++ [auth: [credentials: function]])
      assert {:credentials, _sealed} = config.auth.ask

      # What is no list replaces the whole of a section.
      assert {:ok, %{tls: nil, auth: nil}} = Config.load(options ++ [tls: false, auth: nil])
    end

    test "a function for names that hangs or crashes is told", %{chain: chain} do
      load = fn function ->
        tls = [cacerts: [chain.root], verify_hostname: function]
        Config.load(name: MyApp.DB, tls: tls)
      end

      assert {:error, %{problems: [%{path: [:tls, :verify_hostname]}]} = error} =
               load.(fn _node -> raise "bad #{@secret}" end)

      refute Exception.message(error) =~ @secret

      assert {:error, %{problems: [%{reason: :crashed}]}} =
               load.(fn _node -> Process.exit(self(), :kill) end)
    end

    test "a name without configuration is told" do
      assert {:error, %{name: MyApp.Other, problems: [problem]}} =
               Config.load(Keyword.put(in_environment(tls: false), :name, MyApp.Other))

      assert %{path: [:otp_app], reason: :not_configured} = problem
      assert problem.message =~ "MyApp.Other"

      # An empty one is a configuration.
      assert {:ok, _} = Config.load(in_environment([]) ++ [tls: false])
    end

    test "an environment that is no keyword list is not shown" do
      assert {:error, error} = Config.load(in_environment(%{password: @secret}))
      assert [%{reason: :invalid_value}] = error.problems
      refute Exception.message(error) =~ @secret
    end

    test "otp_app needs an atom to look under" do
      name = {:via, Registry, {MyApp.Registry, "tenant"}}

      assert {:error, %{problems: [%{path: [:otp_app], reason: :conflict}]}} =
               Config.load(Keyword.put(in_environment(tls: false), :name, name))

      assert {:ok, %{name: ^name}} = Config.load(name: name, tls: false)
    end

    test "wrong options are parse's to report" do
      for bad <- [@secret, [name: "db", otp_app: "my_app"], [otp_app: :my_app]] do
        assert {:error, %ConfigError{problems: [_ | _]}} = Config.load(bad)
      end
    end

    test "reads secrets in a process of its own that nobody can look into" do
      test = self()

      password = fn ->
        Process.put(:seen, @secret)
        loader = self()
        seen = Task.await(Task.async(fn -> Process.info(loader, :dictionary) end))
        send(test, {:called, self(), seen})
        @secret
      end

      auth = [username: "app", password: password, allow_plaintext_password: true]

      assert {:ok, %{auth: %{method: {:sasl, _}}}} =
               Config.load(in_environment(tls: false, auth: auth))

      assert_received {:called, loader, {:dictionary, []}}
      assert loader != test
      refute Process.alive?(loader)
    end
  end

  test "inspect shows no secret and no certificates", %{chain: chain} do
    config = parse!(tls: [cacerts: [chain.root]], auth: [username: "app", password: @secret])

    text = inspect(config, limit: :infinity, printable_limit: :infinity)
    refute text =~ @secret
    refute text =~ "cacerts"
    assert text =~ ~s(username: "app")

    refute inspect(config, structs: false, limit: :infinity) =~ @secret
    refute to_string(:io_lib.format("~p", [config])) =~ @secret
  end

  test "the documentation has every option once" do
    docs = Config.docs()

    for {title, place, schema} <- Config.Schema.sections(), {option, spec} <- schema do
      assert place == nil or docs =~ "## #{title}\n\n`#{place}`\n"
      assert docs =~ "| `#{option}:` |"
      assert spec[:doc] =~ ~r/\.\z/, "#{option} has no sentence"
    end

    # Every link has its heading.
    for [_, anchor] <- Regex.scan(~r/\]\(#([a-z-]+)\)/, docs) do
      assert docs |> String.downcase() |> String.replace(" ", "-") =~ "-#{anchor}\n"
    end
  end
end
