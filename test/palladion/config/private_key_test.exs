defmodule Palladion.Config.PrivateKeyTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.Config.{Certificates, Pem, PrivateKey}
  alias Palladion.Test.Certificates, as: Make

  @openssl System.find_executable("openssl") == nil and "the openssl command is not installed"

  setup :tmp_dir

  setup_all do
    %{ec: Make.chain(), rsa: Make.chain({:rsa, 2_048, 65_537})}
  end

  defp read(path, password \\ nil) do
    {:ok, blocks} = Pem.read(path)
    PrivateKey.from_blocks(blocks, password)
  end

  defp parse(content, password \\ nil) do
    {:ok, blocks} = Pem.parse(content)
    PrivateKey.from_blocks(blocks, password)
  end

  defp belongs?(key, chain) do
    {:ok, public_key} = Certificates.public_key(chain.leaf)
    PrivateKey.matches?(key, public_key)
  end

  describe "without a password" do
    test "each format is named, and its DER is the file's", %{ec: ec, rsa: rsa} do
      for {chain, pem, format} <- [
            {ec, Make.key_pem(ec.key), :sec1},
            {ec, Make.key_pem(ec.key, :pkcs8), :pkcs8},
            {rsa, Make.key_pem(rsa.key), :pkcs1},
            {rsa, Make.key_pem(rsa.key, :pkcs8), :pkcs8}
          ] do
        assert {:ok, %{format: ^format, der: der} = key} = parse(pem)
        assert [{_, ^der, _}] = :public_key.pem_decode(pem)
        assert belongs?(key, chain)
        # A DER file gives the same.
        assert parse(der) == {:ok, key}
      end
    end

    test "a password that isn't needed does no harm", %{ec: ec} do
      assert {:ok, _} = parse(Make.key_pem(ec.key), "hunter2")
    end

    test "a key doesn't match another one's certificate", %{ec: ec, rsa: rsa} do
      {:ok, ec_key} = parse(Make.key_pem(ec.key))
      {:ok, rsa_key} = parse(Make.key_pem(rsa.key))

      refute belongs?(ec_key, rsa)
      refute belongs?(rsa_key, ec)
      refute belongs?(ec_key, Make.chain())
    end

    test "what is no usable key is told", %{ec: ec} do
      for {content, reason} <- [
            {Make.pem(ec.leaf), :no_key},
            {Make.key_pem(ec.key) <> Make.key_pem(ec.key), :ambiguous_key},
            {"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n", :malformed},
            {"-----BEGIN EC PRIVATE KEY-----\n!!\n-----END EC PRIVATE KEY-----\n", :malformed},
            {"-----BEGIN OPENSSH PRIVATE KEY-----\nMAA=\n-----END OPENSSH PRIVATE KEY-----\n",
             :unsupported_key}
          ] do
        assert {:error, {^reason, message}} = parse(content)
        assert is_binary(message)
      end
    end

    test "a short RSA key is refused" do
      key = :public_key.generate_key({:rsa, 1_024, 65_537})
      pem = :public_key.pem_encode([:public_key.pem_entry_encode(:RSAPrivateKey, key)])
      assert {:error, {:unsupported_key, message}} = parse(pem)
      assert message =~ "1024 bits"
    end
  end

  describe "made by openssl" do
    @describetag skip: @openssl

    setup %{tmp_dir: dir, ec: ec, rsa: rsa} do
      ed25519 = Path.join(dir, "ed25519.pem")
      Make.openssl!(~w(genpkey -algorithm ed25519 -out) ++ [ed25519])

      %{
        ec_file: Make.write!(dir, "ec.pem", Make.key_pem(ec.key, :pkcs8)),
        rsa_file: Make.write!(dir, "rsa.pem", Make.key_pem(rsa.key, :pkcs8)),
        ed25519_file: ed25519
      }
    end

    defp pkcs8(file, name, options, password \\ "hunter2") do
      Make.openssl!(file, name, ~w(pkcs8 -topk8 -passout pass:#{password}) ++ options)
    end

    test "PKCS#8, for each cipher, digest and kind of key", files do
      for {file, chain, options, format} <- [
            {files.ec_file, files.ec, ~w(-v2 aes-128-cbc), :sec1},
            {files.ec_file, files.ec, ~w(-v2 aes-192-cbc), :sec1},
            {files.ec_file, files.ec, ~w(-v2 aes-256-cbc), :sec1},
            {files.ec_file, files.ec, ~w(-v2 des3), :sec1},
            {files.ec_file, files.ec, ~w(-v2 aes-256-cbc -v2prf hmacWithSHA1), :sec1},
            {files.ec_file, files.ec, ~w(-v2 aes-256-cbc -v2prf hmacWithSHA512), :sec1},
            {files.rsa_file, files.rsa, ~w(-v2 aes-256-cbc), :pkcs1}
          ] do
        encrypted = pkcs8(file, "encrypted.pem", options)

        assert {:ok, %{format: ^format} = key} = read(encrypted, "hunter2"), inspect(options)
        assert belongs?(key, chain)
        assert {:error, {:wrong_password, _}} = read(encrypted, "hunter3")
        assert {:error, {:wrong_password, _}} = read(encrypted, "")
        assert {:error, {:missing_password, _}} = read(encrypted)
      end
    end

    test "PKCS#8 as DER", %{ec_file: file, ec: ec} do
      encrypted = pkcs8(file, "encrypted.der", ~w(-v2 aes-256-cbc -outform DER))
      assert {:ok, %{format: :sec1} = key} = read(encrypted, "hunter2")
      assert belongs?(key, ec)
      assert {:error, {:wrong_password, _}} = read(encrypted, "hunter3")
    end

    test "Ed25519, encrypted and not, is the same key", %{ed25519_file: file, tmp_dir: dir} do
      assert {:ok, %{format: :pkcs8} = plain} = read(file)
      encrypted = pkcs8(file, "encrypted.pem", ~w(-v2 aes-256-cbc))
      assert {:ok, %{format: :pkcs8} = key} = read(encrypted, "hunter2")
      assert key.der == plain.der

      [certificate, another] = for name <- ["a.crt", "b.crt"], do: Path.join(dir, name)
      self_signed = ~w(req -x509 -days 2 -subj /CN=client)
      Make.openssl!(self_signed ++ ["-key", file, "-out", certificate])

      Make.openssl!(
        self_signed ++ ~w(-newkey ed25519 -nodes -keyout) ++ [file <> "2", "-out", another]
      )

      assert belongs?(key, %{leaf: der(certificate)})
      refute belongs?(key, %{leaf: der(another)})
    end

    defp der(file) do
      {:ok, [%{der: der}]} = Pem.read(file)
      der
    end

    test "PEM from before PKCS#8", %{ec_file: ec_file, ec: ec, rsa_file: rsa_file, rsa: rsa} do
      for {file, chain, command, format} <- [
            {ec_file, ec, ~w(ec), :sec1},
            {rsa_file, rsa, ~w(rsa -traditional), :pkcs1}
          ],
          cipher <- ~w(aes128 aes256 des3) do
        encrypted =
          Make.openssl!(file, "old.pem", command ++ ["-#{cipher}", "-passout", "pass:hunter2"])

        assert File.read!(encrypted) =~ "DEK-Info"
        assert {:ok, %{format: ^format} = key} = read(encrypted, "hunter2")
        assert belongs?(key, chain)
        assert {:error, {:wrong_password, _}} = read(encrypted, "hunter3")
        assert {:error, {:missing_password, _}} = read(encrypted)
      end
    end

    test "a password outside ASCII", %{ec_file: file, ec: ec} do
      encrypted = pkcs8(file, "encrypted.pem", ~w(-v2 aes-256-cbc), "pässwörd€")
      assert {:ok, key} = read(encrypted, "pässwörd€")
      assert belongs?(key, ec)
      assert {:error, {:wrong_password, _}} = read(encrypted, "passwörd€")
    end

    test "what Erlang can't decrypt says how to rewrite it", %{ec_file: file} do
      for options <- [~w(-scrypt), ~w(-v1 PBE-SHA1-3DES), ~w(-v2 aes-256-cfb)] do
        encrypted = pkcs8(file, "encrypted.pem", options)

        # A later OTP may be able to.
        case read(encrypted, "hunter2") do
          {:error, {:unsupported_encryption, message}} -> assert message =~ "openssl pkcs8 -topk8"
          {:ok, %{format: :sec1}} -> assert System.otp_release() > "25"
        end
      end
    end

    test "keys that TLS can't use", %{tmp_dir: dir} do
      for {name, args} <- [
            {"ed448", ~w(genpkey -algorithm ed448)},
            {"secp256k1", ~w(ecparam -name secp256k1 -genkey -noout)},
            {"explicit", ~w(ecparam -name prime256v1 -param_enc explicit -genkey -noout)},
            {"rsa_pss", ~w(genpkey -algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048)}
          ] do
        path = Path.join(dir, name)
        Make.openssl!(args ++ ["-out", path])
        assert {:error, {:unsupported_key, message}} = read(path), name
        assert message =~ "can't use"
      end
    end

    @tag timeout: 30_000
    test "an RSA key is measured without its digits", %{tmp_dir: dir} do
      for {modulus, bits} <- [{Integer.pow(2, 1_000), 1_001}, {-1, 0}, {1, 1}] do
        assert {:error, {:unsupported_key, message}} = read(rsa(dir, modulus))
        assert message =~ "of #{bits} bits"
      end

      for zeros <- [255, 400_000] do
        modulus = <<1>> <> :binary.copy(<<0>>, zeros)
        assert {:ok, %{format: :pkcs1}} = read(rsa(dir, :binary.decode_unsigned(modulus) * 128))
      end
    end

    # By hand, for OTP takes hours for such numbers.
    defp rsa(dir, modulus) do
      length = fn bytes -> <<0x84, byte_size(bytes)::32>> <> bytes end
      integer = fn bytes -> <<0x02>> <> length.(bytes) end

      modulus = if modulus < 0, do: <<modulus>>, else: <<0>> <> :binary.encode_unsigned(modulus)

      numbers = [<<0>>, modulus, <<1, 0, 1>> | List.duplicate(<<1>>, 6)]
      Make.write!(dir, "rsa.der", <<0x30>> <> length.(Enum.map_join(numbers, integer)))
    end

    test "parameters before an EC key do no harm", %{tmp_dir: dir} do
      path = Path.join(dir, "with_parameters.pem")
      Make.openssl!(~w(ecparam -name secp384r1 -genkey -out) ++ [path])
      assert File.read!(path) =~ "BEGIN EC PARAMETERS"
      assert {:ok, %{format: :sec1}} = read(path)
    end
  end
end
