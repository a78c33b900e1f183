defmodule Palladion.Config.Pkcs12Test do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.Config.Pkcs12
  alias Palladion.Secret
  alias Palladion.Test.Certificates, as: Make

  @openssl System.find_executable("openssl") == nil and "the openssl command is not installed"
  @keytool System.find_executable("keytool") == nil and "the keytool command is not installed"

  @password "hunter2-pässword"

  setup :tmp_dir

  setup_all do
    %{ec: Make.chain(), rsa: Make.chain({:rsa, 2_048, 65_537})}
  end

  defp read(path, password \\ @password) do
    Pkcs12.read(File.read!(path), password && Secret.wrap(password))
  end

  defp failure(path, password \\ @password) do
    assert {:error, {reason, message}} = read(path, password)
    refute message =~ @password
    {reason, message}
  end

  # A keystore of the chain, its key first.
  defp export(dir, chain, arguments, password \\ @password) do
    certificates = Make.pem([chain.leaf, chain.intermediate])
    bundle = Make.write!(dir, "bundle.pem", Make.key_pem(chain.key) <> certificates)
    arguments = ["pkcs12", "-export", "-passout", "pass:" <> password | arguments]
    Make.openssl!(bundle, "client.p12", arguments)
  end

  describe "made by openssl" do
    @describetag skip: @openssl

    test "gives chain and key, for each kind of key", %{tmp_dir: dir} = context do
      for chain <- [context.ec, context.rsa] do
        assert {:ok, certificates, {:pkcs8, %Secret{}}} = dir |> export(chain, []) |> read()
        assert certificates == [chain.leaf, chain.intermediate]
      end
    end

    test "of other ciphers and digests", %{tmp_dir: dir, ec: ec} do
      for arguments <- [
            ~w(-keypbe AES-128-CBC -certpbe AES-128-CBC),
            ~w(-keypbe AES-256-CBC -certpbe NONE),
            ~w(-macalg sha1),
            ~w(-macalg sha512),
            ~w(-iter 1)
          ] do
        assert {:ok, [leaf | _], _key} = dir |> export(ec, arguments) |> read(),
               inspect(arguments)

        assert leaf == ec.leaf
      end
    end

    test "in the old encryption is read, or it is told how to rewrite it", context do
      %{tmp_dir: dir, ec: ec} = context

      case dir |> export(ec, ["-legacy"]) |> read() do
        {:ok, [leaf | _], _key} -> assert leaf == ec.leaf
        {:error, {:unsupported_encryption, message}} -> assert message =~ "openssl pkcs12 -legacy"
      end
    end

    test "with an empty password needs none", %{tmp_dir: dir, ec: ec} do
      assert {:ok, [leaf | _], _key} = dir |> export(ec, [], "") |> read(nil)
      assert leaf == ec.leaf
    end

    test "what is wrong is told", %{tmp_dir: dir, ec: ec} do
      file = export(dir, ec, [])
      assert {:wrong_password, _} = failure(file, "hunter3")
      assert {:missing_password, _} = failure(file, nil)

      content = File.read!(file)
      cut = Make.write!(dir, "cut.p12", binary_part(content, 0, byte_size(content) - 40))
      assert {:malformed, _} = failure(cut)

      arguments = ["pkcs12", "-export", "-nokeys", "-passout", "pass:" <> @password]
      certificates = Make.write!(dir, "ca.pem", Make.pem(ec.root))
      assert {:no_key, message} = failure(Make.openssl!(certificates, "ca.p12", arguments))
      assert message =~ "-inkey"
    end

    test "any bytes are survived", %{tmp_dir: dir, ec: ec} do
      :rand.seed(:exsss, {1, 2, 3})
      content = dir |> export(ec, ["-iter", "1"]) |> File.read!()

      for _ <- 1..200 do
        size = :rand.uniform(byte_size(content) - 1)
        <<head::binary-size(size), _, tail::binary>> = content

        for changed <- [head, head <> <<:rand.uniform(255)>> <> tail] do
          assert elem(Pkcs12.read(changed, Secret.wrap(@password)), 0) in [:ok, :error]
        end
      end
    end
  end

  describe "made by keytool" do
    @describetag skip: @keytool

    defp keytool!(arguments) do
      {text, status} = System.cmd("keytool", arguments, stderr_to_stdout: true)
      if status != 0, do: raise("keytool #{Enum.join(arguments, " ")}: #{text}")
    end

    defp generate!(file, alias_name) do
      keytool!(
        ~w(-genkeypair -keyalg EC -groupname secp256r1 -dname CN=client -validity 2) ++
          ~w(-storetype PKCS12 -storepass hunter2 -alias) ++ [alias_name, "-keystore", file]
      )
    end

    test "gives certificate and key", %{tmp_dir: dir} do
      file = Path.join(dir, "client.p12")
      generate!(file, "client")
      assert {:ok, [_leaf], {:pkcs8, %Secret{}}} = read(file, "hunter2")
      assert {:wrong_password, _} = failure(file, "hunter3")
    end

    test "with two keys is not guessed at", %{tmp_dir: dir} do
      file = Path.join(dir, "client.p12")
      generate!(file, "one")
      generate!(file, "other")
      assert {:ambiguous_key, message} = failure(file, "hunter2")
      assert message =~ "-srcalias"
    end
  end
end
