defmodule Palladion.Config.KeyspacesTest do
  # Sets AWS_REGION.
  use ExUnit.Case, async: false

  alias Palladion.Config
  alias Palladion.Config.{Keyspaces, SchemaAgreement, Seal}
  alias Palladion.Test.Certificates

  @endpoint "cassandra.us-east-1.amazonaws.com"
  @login [username: "app-at-1234", password: "hunter2"]

  # The fingerprints that Amazon and Starfield publish for their roots, SHA-256.
  @fingerprints %{
    "Amazon Root CA 1" => "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
    "Amazon Root CA 2" => "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
    "Amazon Root CA 3" => "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
    "Amazon Root CA 4" => "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
    "Starfield Class 2" => "1465fa205397b876faa6f0a9958e5590e40fcc7faa4fb7c2c8677521fb5fb658"
  }

  setup do
    System.put_env("AWS_REGION", "us-east-1")
    on_exit(fn -> System.delete_env("AWS_REGION") end)
  end

  defp parse(options) do
    Config.parse(
      [name: __MODULE__, profile: :keyspaces] ++ Keyword.merge([auth: @login], options)
    )
  end

  # Sealed, as a supervisor hands them over.
  defp load(options), do: Config.load([name: __MODULE__, profile: :keyspaces] ++ options)

  defp problems(options) do
    assert {:error, %{problems: problems}} = parse(options)
    refute inspect(problems) =~ "hunter2"
    for problem <- problems, do: {problem.path, problem.reason, problem.message}
  end

  # The presets alone, with a region as if it had been found.
  defp put(options, region \\ "us-east-1") do
    {options, []} = Keyspaces.put(options, fn given, _profile -> {:ok, given || region} end)
    options
  end

  describe "the roots" do
    test "are the five that are published" do
      fingerprints =
        for der <- Keyspaces.roots(), do: Base.encode16(:crypto.hash(:sha256, der), case: :lower)

      assert Enum.sort(fingerprints) == Enum.sort(Map.values(@fingerprints))
    end

    test "can be read, are authorities, and signed themselves" do
      for der <- Keyspaces.roots() do
        assert {:OTPCertificate, tbs, _algorithm, _signature} =
                 :public_key.pkix_decode_cert(der, :otp)

        assert :public_key.pkix_is_self_signed(der)
        extensions = elem(tbs, 10)

        assert {:Extension, _oid, _critical, {:BasicConstraints, true, _path}} =
                 List.keyfind(extensions, {2, 5, 29, 19}, 1)
      end
    end

    test "come with the package" do
      assert "lib" in Mix.Project.config()[:package][:files]
      assert File.exists?("lib/palladion/config/keyspaces/roots.pem")
    end
  end

  describe "presets" do
    test "are what the service needs" do
      assert {:ok, config} = parse([])
      assert [%{host: @endpoint, port: 9142}] = config.contact_points
      assert config.local_datacenter == "us-east-1"
      assert config.consistency == :local_quorum
      assert config.retry == {Palladion.RetryPolicies.Keyspaces, []}

      assert config.schema_agreement ==
               %SchemaAgreement{timeout: 60_000, interval: 1_000, by: :keyspaces}

      assert %{version: 4, compression: nil} = config.protocol
      assert %{verify: :peer, verified_name: @endpoint, sni: nil} = config.tls
      assert config.tls.cacerts == Keyspaces.roots()
      assert config.warnings == []
    end

    test "give way to what is given, section by section" do
      assert {:ok, config} =
               parse(
                 port: 9999,
                 local_datacenter: "elsewhere",
                 consistency: :local_one,
                 retry: :none,
                 schema_agreement: [timeout: 5],
                 tls: [versions: [:"tlsv1.3"], session_cache: false]
               )

      assert [%{host: @endpoint, port: 9999}] = config.contact_points
      assert config.local_datacenter == "elsewhere"
      assert config.consistency == :local_one
      assert {Palladion.RetryPolicies.None, _} = config.retry
      assert %{timeout: 5, interval: 1_000, by: :keyspaces} = config.schema_agreement
      assert %{verified_name: @endpoint, versions: [:"tlsv1.3"], session_cache: nil} = config.tls
      assert config.tls.cacerts == Keyspaces.roots()

      assert {:ok, %{schema_agreement: nil}} = parse(schema_agreement: false)
      assert {:ok, %{protocol: %{version: 5}}} = parse(protocol: [version: 5])
      assert {:ok, %{protocol: %{version: 4}}} = parse(protocol: [max_response_size: 65_536])
    end

    test "a variable that is not set gives nothing" do
      assert {:ok, %{local_datacenter: "us-east-1"}} = parse(local_datacenter: nil)
    end

    test "requests are signed unless another login is given" do
      assert put([])[:auth] == [sigv4: [region: "us-east-1"]]
      assert put(auth: nil)[:auth] == [sigv4: [region: "us-east-1"]]
      assert put(auth: [timeout: 5])[:auth] == [sigv4: [region: "us-east-1"], timeout: 5]

      for auth <- [@login, [username: nil, password: nil], [credentials: {:file, "f"}], :wrong] do
        assert put(auth: auth)[:auth] == auth
      end
    end

    test "without the profile there are none" do
      assert {:ok, config} = Config.parse(name: __MODULE__, auth: @login)
      assert [%{host: "localhost", port: 9042}] = config.contact_points
      assert config.schema_agreement.by == :nodes
    end
  end

  describe "the region" do
    test "is in the endpoint, in the data center and in what is signed" do
      for {region, endpoint} <- [
            {"eu-central-1", "cassandra.eu-central-1.amazonaws.com"},
            {"us-gov-west-1", "cassandra.us-gov-west-1.amazonaws.com"},
            {"cn-northwest-1", "cassandra.cn-northwest-1.amazonaws.com.cn"}
          ] do
        options = put(auth: [sigv4: [region: region, access_key_id: "AKID"]])
        assert options[:contact_points] == [endpoint]
        assert options[:local_datacenter] == region
        assert options[:auth] == [sigv4: [region: region, access_key_id: "AKID"]]
        assert options[:tls][:verify_hostname] == endpoint
      end
    end

    test "is the contact point's, before that of the environment" do
      for {point, region} <- [
            {"cassandra.eu-west-1.amazonaws.com", "eu-west-1"},
            {"CASSANDRA.EU-West-1.amazonaws.com:9142", "eu-west-1"},
            {"cassandra-fips.us-gov-east-1.amazonaws.com", "us-gov-east-1"},
            {"cassandra.cn-north-1.amazonaws.com.cn", "cn-north-1"},
            {"cassandra.ap-south-1.api.aws", "ap-south-1"},
            {"vpce-1a2b-3c.cassandra.eu-west-3.vpce.amazonaws.com", "eu-west-3"},
            {"cassandra.eu-west-1.amazonaws.com.example", "us-east-1"},
            {"notcassandra.eu-west-1.amazonaws.com", "us-east-1"}
          ] do
        options = put(contact_points: [point])
        assert {point, options[:local_datacenter]} == {point, region}
        assert options[:contact_points] == [point]
      end
    end

    test "of the contact point is what is signed for" do
      points = ["cassandra.eu-west-1.amazonaws.com"]
      keys = [access_key_id: "AKIDEXAMPLE", secret_access_key: "between+us"]

      for sigv4 <- [true, [], [region: nil], keys] do
        assert {:ok, config} = load(contact_points: points, auth: [sigv4: sigv4])
        assert {:sigv4, %{region: "eu-west-1"}} = config.auth.method
      end

      given = [contact_points: points, auth: [sigv4: [region: "EU-West-1"]]]
      assert {:ok, config} = load(given)
      assert {:sigv4, %{region: "eu-west-1"}} = config.auth.method

      assert {:error, %{problems: [%{path: [:auth, :sigv4, :region]}]}} =
               load(contact_points: points, auth: [sigv4: [region: :here]])
    end

    test "is one" do
      west = "cassandra.eu-west-1.amazonaws.com"

      for {options, path} <- [
            {[contact_points: [west], auth: [sigv4: [region: "us-east-1"]]],
             [:auth, :sigv4, :region]},
            {[contact_points: [@endpoint, west], auth: [sigv4: true]], [:contact_points]},
            {[contact_points: [@endpoint, west], auth: @login], [:contact_points]}
          ] do
        assert {:error, %{problems: [problem]}} = load(options)
        assert %{path: ^path, reason: :conflict, message: message} = problem
        assert message =~ "eu-west-1"
        assert message =~ "us-east-1"
      end

      vpc = "vpce-1a2b-3c.cassandra.eu-west-1.vpce.amazonaws.com"
      assert {:ok, _config} = load(contact_points: [west, vpc, "10.0.0.1"], auth: [sigv4: true])
    end

    test "is kept, for updates of the login" do
      west = ["cassandra.EU-west-1.amazonaws.com"]

      for {options, region} <- [
            {[], "us-east-1"},
            {[contact_points: west], "eu-west-1"},
            {[contact_points: west, auth: @login], "eu-west-1"},
            {[contact_points: ["10.0.0.1"], auth: [sigv4: [region: "EU-West-2"]]], "eu-west-2"},
            {[contact_points: ["10.0.0.1"], auth: @login], nil}
          ] do
        assert {:ok, config} = load(options)
        assert {options, config.region} == {options, region}
        assert Config.circumstances(config).region == region
      end

      assert {:ok, config} = load(contact_points: west)
      circumstances = Config.circumstances(config)
      change = [sigv4: true]

      assert {:ok, %{method: {:sigv4, %{region: "eu-west-1"}}}} =
               Config.update_auth(MyApp.DB, config.auth, change, circumstances)
    end

    test "that is missing or wrong is one problem" do
      System.put_env("AWS_REGION", "nowhere")

      for auth <- [[sigv4: true], nil] do
        assert {:error, %{problems: [problem]}} = load(auth: auth)
        assert %{path: [:auth, :sigv4, :region], reason: :invalid_value} = problem
      end
    end

    test "is asked for with what the login says" do
      find = fn given, profile -> {:ok, "asked-#{given}-#{profile}-1"} end
      sigv4 = [region: "r", profile: "p"]

      for auth <- [[sigv4: sigv4], Seal.seal(auth: [sigv4: sigv4])[:auth]] do
        assert {options, []} = Keyspaces.put([auth: auth], find)
        assert options[:local_datacenter] == "asked-r-p-1"
      end
    end

    test "that nobody knows is a problem, unless an endpoint is given" do
      nobody = fn _given, _profile -> {:ok, nil} end

      assert {_options, [%{path: [:profile], reason: :required} = problem]} =
               Keyspaces.put([auth: @login], nobody)

      assert problem.message =~ "AWS_REGION"
      assert problem.message =~ ~s(contact_points: ["cassandra.us-east-1.amazonaws.com"])

      # An endpoint is enough, and then nobody is asked.
      given = [auth: @login, contact_points: ["db.example"]]
      assert {options, []} = Keyspaces.put(given, fn _given, _profile -> flunk() end)
      refute options[:local_datacenter]

      # The check of the login says it.
      assert {_options, []} = Keyspaces.put([auth: [sigv4: true]], nobody)
    end

    test "that can't be read is a problem, with the reason" do
      failed = fn _given, _profile -> {:error, "AWS_REGION is \"x\", which is no region"} end
      assert {_options, [problem]} = Keyspaces.put([auth: @login], failed)
      assert %{path: [:profile], reason: :invalid_value} = problem
      assert problem.message =~ "AWS_REGION is \"x\""
    end
  end

  describe "the name to verify" do
    defp name(options), do: put(options)[:tls][:verify_hostname]

    test "is the endpoint's, for every address that it tells of" do
      assert name([]) == @endpoint
      assert name(tls: true) == @endpoint
      assert name(tls: [pinned: ["…"]]) == @endpoint
    end

    test "is a contact point's own" do
      for host <- [
            "cassandra-fips.us-east-1.amazonaws.com",
            "cassandra.us-east-1.api.aws",
            "keyspaces.example"
          ] do
        assert name(contact_points: [host]) == host
      end
    end

    test "of a VPC endpoint and of an address is the region's, which is in the certificate" do
      vpc = "vpce-1a2b-3c-us-east-1a.cassandra.us-east-1.vpce.amazonaws.com"

      for points <-
            [[vpc], [vpc, "vpce-9-9.cassandra.us-east-1.vpce.amazonaws.com"]] ++
              [["10.0.0.7"], [{{10, 0, 0, 7}, 9142}, @endpoint]] do
        assert name(contact_points: points) == @endpoint
      end
    end

    test "where several have different ones is each one's own" do
      assert name(contact_points: ["a.example", "b.example"]) == nil
    end

    test "is the user's to say" do
      assert name(tls: [verify_hostname: "db.example"]) == "db.example"
      assert name(tls: [verify_hostname: false]) == false
      assert name(tls: [server_name_indication: "db.example"]) == nil
      assert name(tls: [server_name_indication: :disable]) == @endpoint
      assert name(endpoint_resolver: {:fixed_name, "db.example"}) == nil
    end
  end

  describe "trust" do
    test "is the user's to say" do
      chain = Certificates.chain()
      assert {:ok, config} = parse(tls: [cacerts: [chain.root]])
      assert config.tls.cacerts == [chain.root]
      assert config.tls.verified_name == @endpoint
    end

    test "can be given up, which is told" do
      assert {:ok, config} = parse(tls: [verify: :verify_none])
      assert config.tls.verify == :none
      assert [{[:tls, :verify], _text}] = config.warnings
    end
  end

  describe "a problem is" do
    test "no TLS, and that is all" do
      assert [{[:tls], :conflict, text}] = problems(tls: false)
      assert text =~ "speaks TLS only"
    end

    test "a consistency that the service refuses" do
      for level <- [:any, :two, :three, :quorum, :all, :each_quorum] do
        assert [{[:consistency], :conflict, text}] = problems(consistency: level)
        assert text =~ "#{inspect(level)}, which Amazon Keyspaces refuses"
      end

      assert [{[:consistency], :invalid_value, _text}] = problems(consistency: :most)
    end

    test "a profile that there is not" do
      for {given, text} <- [
            {:keyspace, "must be :keyspaces, got: :keyspace; did you mean :keyspaces?"},
            {"Keyspaces", "did you mean :keyspaces?"},
            {17, "must be :keyspaces, got: 17"}
          ] do
        assert {:error, %{problems: [problem]}} = Config.parse(name: :db, profile: given)
        assert problem.path == [:profile]
        assert problem.message =~ text
      end
    end

    test "what is one otherwise, beside it" do
      assert [{[:tls, :verify_hostname], :invalid_name, _}, {[:pool, :sise], :unknown_option, _}] =
               [tls: [verify_hostname: "a b"], pool: [sise: 1]] |> problems() |> Enum.sort(:desc)
    end
  end

  test "reading with less than a quorum is allowed, and a line in the log: writes are refused" do
    for level <- [:one, :local_one] do
      assert {:ok, %{warnings: [{[:consistency], text}]}} = parse(consistency: level)
      assert text =~ "takes writes at :local_quorum only"
    end
  end
end
